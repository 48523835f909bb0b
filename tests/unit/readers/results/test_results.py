"""The result set, from small sessions: files, numbers, figures that can be read."""

from __future__ import annotations

import csv
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from typer.testing import CliRunner

from protocols.documents import SessionSettings, ThreadSettings
from protocols.errors import DataError, SettingsError
from synth_server.cli import app
from synth_server.readers.evolution import comparison_documents as comparison
from synth_server.readers.evolution import network_features, similarity, thread_result
from synth_server.readers.evolution import results_document as results
from synth_server.readers.evolution.gains import FINAL_GENERATIONS
from synth_server.readers.log.session_record import read_record
from synth_server.readers.results.folder import write_result_set
from synth_server.readers.results.tables import TABLES
from synth_server.readers.statistics.bootstrap import N_RESAMPLES
from synth_server.readers.statistics.significance import N_PERMUTATIONS
from synth_server.readers.summary.session_summary import summarize
from synth_server.session.build import new_session
from tests.playing import attach, play

DOCS = Path(__file__).parents[4] / "docs"


def session(folder: Path, n_blocks: int | None = None, **changes: object) -> Path:
    """Two short evolutions with a test, or what `changes` make of them."""
    values = {
        "n_generations": 4,
        "n_references": 6,
        "test_repetitions": 3,
        "n_test_images": 3,
        "n_test_natural": 2,
        "generator": {"name": "pixels", "options": {"size_px": 16}},
        "optimizer": {"name": "genetic", "options": {"preset": "xdream", "population": 6}},
    }
    threads = tuple(
        ThreadSettings(
            name=site,
            protocol="evolve",
            settings=values | {"objective": {"name": "site", "options": {"site": site}}} | changes,
        )
        for site in ("site-00", "site-01")
    )
    made = new_session(
        SessionSettings(session_id="test", seed=5, threads=threads), folder / "session.sqlite"
    )
    attach(made)
    play(made, n_blocks)
    made.log.close()
    return folder / "session.sqlite"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return session(tmp_path_factory.mktemp("log"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def overlaps(monkeypatch):
    """Pairs of texts that lie on each other, or a text that leaves the page, in what is saved."""
    found: list[str] = []
    save = Figure.savefig

    def look(figure, *arguments, **options):
        found.extend(unreadable(figure))
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", look)
    return found


def unreadable(figure) -> list[str]:
    texts = []
    draw = Text.draw

    def note(text, renderer, *arguments, **options):
        if text.get_text().strip() and text.get_visible():
            texts.append((text.get_text(), text.get_window_extent(renderer)))
        draw(text, renderer, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", note)
        figure.draw_without_rendering()
    out = [name for name, box in texts if not _inside(box, figure.bbox)]
    pairs = itertools.combinations(texts, 2)
    return out + [f"{a!r} on {b!r}" for (a, one), (b, other) in pairs if _share(one, other)]


def _inside(box, page) -> bool:
    return box.x0 >= page.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 and box.y1 <= page.y1


def _share(one, other) -> bool:
    """More than a pixel's touch."""
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return wide > 1.5 and high > 1.5


def test_its_files(log, tmp_path, overlaps):
    write_result_set(log, tmp_path, None)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    figures = {
        f"{name}.{kind}" for name in ("overview", "threads/site-00") for kind in ("png", "svg")
    }
    assert figures | {f"{name}.csv" for name in TABLES} | {"results.json"} <= left
    assert sum(name.startswith("images/site-01/last-") for name in left) == 6
    with Image.open(tmp_path / "threads/site-00.png") as drawn:
        pixels = np.asarray(drawn.convert("L"))
    assert pixels.shape == (1680, 1440)
    assert 0.02 < (pixels < 128).mean() < 0.5
    assert not overlaps


def test_the_numbers_are_those_of_the_summary(log, tmp_path):
    found = write_result_set(log, tmp_path, None)
    summary = summarize(read_record(log))
    for thread, known in zip(found.threads, summary.threads, strict=True):
        assert [each.evolved_score for each in thread.generations] == [
            each.evolved for each in known.generations
        ]
        assert [each.reference_count for each in thread.generations] == [
            each.reference for each in known.generations
        ]
    best = {site.site: site.best_reference_name for site in summary.sites}
    assert {t.thread: t.references[0].name for t in found.threads} == best
    assert (
        results.Results.model_validate_json((tmp_path / "results.json").read_text("utf-8")) == found
    )
    table = rows(tmp_path / "generations.csv")
    assert len(table) == 2 * 4 * 2
    assert float(table[0]["mean_score"]) == found.threads[0].generations[0].evolved_score.mean
    assert [row["rank"] for row in rows(tmp_path / "references.csv")][:6] == list("123456")
    last = rows(tmp_path / "last_generation.csv")[0]
    assert (tmp_path / last["file"]).is_file()


def test_the_test_at_the_end_is_what_counts(log, tmp_path):
    found = write_result_set(log, tmp_path, None)
    thread = found.threads[0]
    assert thread.in_test is not None
    assert thread.comparison == thread.in_test
    assert (thread.in_test.n_evolved, thread.in_test.n_evolved_showings) == (3, 9)
    assert {each.n_showings for each in thread.tested} == {3}
    assert {row["measured_in"] for row in rows(tmp_path / "gains.csv")} == {"test", "generations"}
    assert found.n_gains == 2


def test_the_same_log_gives_the_same_files(log, tmp_path):
    for name in "ab":
        write_result_set(log, tmp_path / name, None)
    for path in (tmp_path / "a").rglob("*.*"):
        again = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == again.read_bytes(), path.name


@pytest.mark.parametrize(
    "changes",
    [
        {"test_repetitions": 0},
        {"test_repetitions": 0, "n_references": 0},
        {"n_references": 30, "objective": {"name": "mean_of_sites"}},
        {"start": {"n_images": 8, "repetitions": 1, "best": 2}},
        {"objective": {"name": "suppress", "options": {"site": "site-01"}}},
    ],
    ids=["no test", "no references", "two sites", "start", "suppress"],
)
def test_what_is_missing_leaves_a_page_that_can_be_read(changes, tmp_path, overlaps):
    path = session(tmp_path, **changes)
    found = write_result_set(path, tmp_path / "results", None)
    assert (found.threads[0].in_test is None) == (changes.get("test_repetitions") == 0)
    assert not overlaps


@pytest.mark.parametrize("n_blocks", [1, 3])
def test_a_session_under_way_has_results(n_blocks, tmp_path, overlaps):
    path = session(tmp_path, n_blocks)
    found = write_result_set(path, tmp_path / "results", None)
    assert found.state == "running"
    assert sum(len(each.generations) for each in found.threads) == n_blocks
    assert not overlaps


def test_one_thread_only(log, tmp_path):
    found = write_result_set(log, tmp_path, None, ["site-01"])
    assert [each.thread for each in found.threads] == ["site-01"]
    with pytest.raises(SettingsError, match="site-02"):
        write_result_set(log, tmp_path, None, ["site-02"])


def test_other_protocols_have_none(tmp_path):
    thread = ThreadSettings(
        name="map",
        protocol="map_responses",
        settings={"n_images": 2, "image_size_px": 8, "repetitions": 1},
    )
    made = new_session(
        SessionSettings(session_id="map", seed=1, threads=(thread,)), tmp_path / "session.sqlite"
    )
    attach(made)
    play(made)
    made.log.close()
    with pytest.raises(DataError, match="no evolution"):
        write_result_set(tmp_path / "session.sqlite", tmp_path, None)


def test_the_command(log, tmp_path):
    arguments = ["results", str(log), "--out", str(tmp_path), "--backbone", "none"]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 0, told.output
    assert "Median gain" in told.stdout
    printed = CliRunner().invoke(app, [*arguments, "--json"])
    assert json.loads(printed.stdout) == json.loads((tmp_path / "results.json").read_text("utf-8"))


@pytest.mark.parametrize(
    "model",
    [
        results.Results,
        thread_result.ThreadResult,
        thread_result.GenerationResult,
        thread_result.LastImage,
        thread_result.RankedReference,
        thread_result.TestedImage,
        comparison.Comparison,
        comparison.SiteComparison,
        similarity.Similarity,
        similarity.NaturalImage,
        similarity.Correlation,
        network_features.FeatureSettings,
    ],
)
def test_every_field_is_described(model):
    page = (DOCS / "reference" / "results.md").read_text("utf-8")
    assert [name for name in model.model_fields if f"`{name}`" not in page] == []


def test_the_docs_know_the_numbers():
    page = (DOCS / "reference" / "results.md").read_text("utf-8")
    assert f"last {FINAL_GENERATIONS} generations" in page
    assert f"{N_RESAMPLES} bootstrap resamples" in page
    assert f"relabelled {N_PERMUTATIONS} times" in page
    assert f"fewer than {similarity.MIN_IMAGES} natural images" in page
    how_to = (DOCS / "how-to" / "publish-an-evolution.md").read_text("utf-8")
    assert set(re.findall(r"`(\w+)\.csv`", how_to)) == set(TABLES)
