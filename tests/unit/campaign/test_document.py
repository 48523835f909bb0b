"""campaign.toml: which cells it means, what they are named by, and what is refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocols import plugins
from protocols.errors import SettingsError, StimloopError
from synth_server.campaign.cells import Cell, cell_of, distinct_cells
from synth_server.campaign.document import CampaignSettings, label, read_campaign
from synth_server.campaign.run import Campaign
from synth_server.campaign.template import TEMPLATE
from synth_server.dry_run_settings import DryRunSettings, rig_settings

SMALL: dict[str, Any] = {
    "subject": "gabor_energy",
    "generator": "pixels",
    "sites": 1,
    "generations": 1,
    "population": 4,
}


def cell(**changes: Any) -> Cell:
    return cell_of(DryRunSettings.model_validate({**SMALL, **changes}))


def test_a_grid_is_every_combination_and_single_cells_come_after_it():
    settings = CampaignSettings(
        name="c",
        shared=SMALL,
        grid={"seed": (0, 1), "changes.n_references": (0, 2)},
        cells=({"seed": 5, "noise": "none"},),
    )
    found = [(s.seed, s.changes.get("n_references"), s.noise) for s in settings.dry_runs()]
    assert found == [
        (0, 0, "poisson"),
        (0, 2, "poisson"),
        (1, 0, "poisson"),
        (1, 2, "poisson"),
        (5, None, "none"),
    ]
    assert settings.n_asked == 5


def test_a_grid_adds_to_shared_tables():
    shared = {**SMALL, "changes": {"optimizer": {"options": {"sigma": 2}}, "n_references": 0}}
    settings = CampaignSettings(
        name="c", shared=shared, grid={"changes.optimizer.options.tau": (1,)}
    )
    (found,) = settings.dry_runs()
    assert found.changes == {"optimizer": {"options": {"sigma": 2, "tau": 1}}, "n_references": 0}


def test_what_is_asked_for_twice_is_one_cell():
    asked = [DryRunSettings.model_validate(SMALL)] * 2
    assert len(distinct_cells([*asked, DryRunSettings.model_validate({**SMALL, "seed": 1})])) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"noise": "none"},
        {"population": 5},
        {"optimizer": "random_search"},
        {"neurons": {"subject": {"options": {"seed": 1}}}},
        {"neurons": {"fano": 3}},
        {"changes": {"n_references": 3}},
    ],
)
def test_every_setting_has_its_name(changes):
    assert cell(**changes).name != cell().name


def test_a_default_that_is_written_out_changes_no_name():
    default = {"subject": {"options": {"seed": 0}}, "drift": 0}
    assert cell(neurons=default).name == cell().name


def test_a_file_counts_by_what_is_in_it(tmp_path, monkeypatch):
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    first.write_bytes(b"photographs")
    second.write_bytes(b"photographs")
    names = [cell(changes={"references": str(path)}).name for path in (first, second)]
    assert names[0] == names[1]
    monkeypatch.chdir(tmp_path)
    relative = cell(changes={"references": "a.zip"})
    assert relative.name == names[0]
    assert relative.settings.changes["references"] == str(first)
    second.write_bytes(b"others")
    assert cell(changes={"references": str(second)}).name != names[0]


def test_other_versions_are_other_cells(monkeypatch):
    from synth_server.campaign import cells

    before = cell().name
    monkeypatch.setattr(cells, "deciding_versions", lambda: {"stimloop": "9"})
    assert cell().name != before


def test_a_laboratorys_plugin_counts_by_its_version_and_its_module(tmp_path, monkeypatch):
    """One that is installed as any other, from files."""
    package = tmp_path / "our_lab.py"
    source = "from simulated_neurons.gabor_energy import GaborEnergyPopulation as Ours\n"
    package.write_text(source, "utf-8")
    info = tmp_path / "our_lab-1.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[stimloop.subjects]\nours = our_lab:Ours\n", "utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: our-lab\nVersion: 1\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._all_installed.cache_clear()
    try:
        before = cell(subject="ours").name
        assert cell(subject="ours").name == before
        package.write_text(source + "# mended\n", "utf-8")
        mended = cell(subject="ours").name
        assert mended != before
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: our-lab\nVersion: 2\n", "utf-8"
        )
        assert cell(subject="ours").name != mended
    finally:
        monkeypatch.undo()
        plugins._all_installed.cache_clear()


def test_the_neurons_of_a_dry_run_can_be_chosen():
    settings = DryRunSettings(neurons={"subject": {"options": {"seed": 3}}, "fano": 2.0})
    options = rig_settings(settings)["acquisition"]["options"]
    assert options["subject"] == {"name": "v4_like", "options": {"n_sites": 4, "seed": 3}}
    assert options["fano"] == 2.0
    assert options["noise"] == "poisson"


def test_labels_are_short():
    assert label({"name": "genetic", "options": {"preset": "xdream"}}) == "genetic(preset=xdream)"
    assert label({"name": "deep"}) == "deep"
    assert label("deep") == "deep"
    assert label(0.5) == "0.5"


def _campaign(tmp_path: Path, text: str) -> Campaign:
    file = tmp_path / "campaign.toml"
    file.write_text(text, "utf-8")
    return Campaign(read_campaign(file), tmp_path / "out")


def test_the_template_is_one(tmp_path):
    made = _campaign(tmp_path, TEMPLATE)
    assert len(made.cells) == 36
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('name = "c"\n[grid]\nseed = []\n', "seed has no values"),
        ('name = "c"\n[grid]\nsede = [1]\n', "sede = 1"),
        ('name = "c"\n[grid]\nnoise = ["loud"]\n', "noise = loud"),
        ('name = "c"\n[grid]\nsubject = ["nobody"]\n', "no plug-in 'nobody'"),
        ('name = "c"\n[grid]\n"changes.n_referenecs" = [1]\n', "n_referenecs"),
        ('name = "c"\n[grid]\n"neurons.fanno" = [1]\n', "fanno"),
        ('name = "c"\n[compare]\nsetting = "optimiser"\nbaseline = "x"\n', "optimiser"),
        ('name = "c"\n[compare]\nsetting = "noise"\nbaseline = "none"\n', "poisson"),
        (
            'name = "c"\n[compare]\nsetting = "noise"\nbaseline = "poisson"\nmeasure = "joy"\n',
            "true_last",
        ),
        (
            f'name = "c"\n[grid]\nseed = {list(range(1001))}\nsites = {list(range(1001))}\n',
            "too many",
        ),
    ],
)
def test_a_mistake_is_told_before_work_begins(tmp_path, text, told):
    with pytest.raises(StimloopError) as caught:
        _campaign(tmp_path, text)
    assert told in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_one_campaign_at_a_time_writes_into_a_folder(tmp_path):
    from synth_server.campaign.rows import only_writer

    with (
        only_writer(tmp_path),
        pytest.raises(SettingsError, match="another campaign"),
        only_writer(tmp_path),
    ):
        pass
    with only_writer(tmp_path):
        pass


def test_the_design_of_wang_and_ponce_is_a_campaign():
    """Nine optimizers at every noise and unit, each with its settings resolved."""
    found = read_campaign(Path(__file__).parents[3] / "benchmarks" / "wang_ponce.toml")
    assert found.n_asked == 9 * 3 * 12 * 3
    few = {"neurons.subject.options.layer": ("blocks.2",), "seed": (0,)}
    made = Campaign(found.model_copy(update={"grid": {**found.grid, **few}}), Path("nowhere"))
    assert len(made.cells) == 9 * 3 * 4
    names = {each.columns["changes.optimizer"] for each in made.cells}
    assert "genetic(preset=xdream)" in names
    assert len(names) == 9
