"""Perturb and reduction: through real sessions of simulated neurons whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from encoders.backbones.one_thread import one_thread
from encoders.checkpoint import load_encoder
from protocols.digests import image_id
from protocols.documents import EventKind, SessionSettings, ThreadSettings
from protocols.errors import DataError, SettingsError
from protocols.experiments.perturb import PerturbSettings
from protocols.experiments.variants import Variant, VariantStimuli, base_label, base_number
from protocols.seeds import random_stream
from protocols.settings import validated
from protocols.vocabulary import Block, BlockResponses, Outcome, Placement, Role, Stimulus
from synth_server.cli import app
from synth_server.report.page import write_report
from synth_server.session.build import new_session
from synth_server.session.log import SessionLog
from synth_server.session.recovery import verify_replay
from synth_server.synthesis.ball import BallSpace, at_radius, random_change, rms_levels
from synth_server.synthesis.photographs import load_photographs
from synth_server.variants.documents import Variants
from synth_server.variants.figure import draw_variants
from synth_server.variants.reading import Reader, of_sites, read_variants, sd_over_photographs
from synth_server.variants.summary import summarised
from tests.encoder_files import FIT, SITES, SIZE_PX, write_small_encoder
from tests.playing import attach

IMAGES = load_photographs("embedded", 12, SIZE_PX).images
WINDOW_S = 0.1
GAIN = 0.03
"""Of the rate, for a predicted SD: small, as a change is that noise hides."""
RATE = 40.0
"""Spikes/s that simulated neurons answer a photograph with, on average."""


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread():
    with one_thread():
        yield


@pytest.mark.parametrize("radius", [0.66, 1.65, 6.6])
def test_a_ball_ends_at_its_radius_as_shown(radius):
    base = IMAGES[1]
    changed = random_change(base, radius, random_stream(0, "test"))
    assert rms_levels(changed, base) == pytest.approx(radius, rel=0.03)
    space = BallSpace(base, radius)
    pixels = torch.rand(2, 3, SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(0))
    space.project_(pixels)
    centre = torch.from_numpy(base).permute(2, 0, 1).float() / 255
    rms = 255 * (pixels - centre).square().mean((1, 2, 3)).sqrt()
    assert bool((rms <= radius * 1.001).all())
    assert bool(((pixels >= 0) & (pixels <= 1)).all())


def test_a_range_that_ends_is_no_way_out_of_the_ball():
    white = np.full((8, 8, 3), 255, np.uint8)
    up = at_radius(white, white + 1.0, 3.0)
    assert np.array_equal(up, white)
    assert np.array_equal(at_radius(white, white.astype(float), 3.0), white)


def test_labels_say_what_a_variant_is():
    variant = Variant("drive", 1.65, 3, 12.5, 10.25, 4.0)
    assert Variant.of_label(variant.label) == variant
    assert Variant.of_label(Variant("random", 6.6, 0).label) == Variant("random", 6.6, 0)
    assert Variant.of_label("a photograph of base 3") is None
    assert base_number(base_label(7, "cat: face")) == 7
    assert base_number("cat") is None


def test_equal_images_are_shown_once():
    stimuli = VariantStimuli()
    stimuli.add_base(0, IMAGES[0], "a")
    stimuli.add(Variant("drive", 1.0, 0), IMAGES[0], ("s",))
    stimuli.add(Variant("random", 1.0, 0), IMAGES[1], ())
    assert len(stimuli.all().images) == 2
    assert stimuli.n_equal == 1


def test_one_disc_for_two_sites_is_of_both_and_its_prediction_of_the_first_alone():
    stimuli = VariantStimuli()
    stimuli.add_base(0, IMAGES[0], "a")
    stimuli.add(Variant("disc", 0.1, 0, 12.0, 20.0, 4.0), IMAGES[1], ("A",))
    stimuli.add(Variant("disc", 0.1, 0, 33.0, 40.0, 9.0), IMAGES[1], ("B",))
    stimuli.add(Variant("kept", 0.1, 0, 50.0, 60.0, 9.0), IMAGES[1], ("C",))
    shown = stimuli.all()
    assert shown.targets[1] == ("A", "B")
    stimulus = Stimulus(
        id=image_id(IMAGES[1]), role=Role.CONTROL, label=shown.labels[1], targets=shown.targets[1]
    )
    first, second = of_sites(Variant.of_label(stimulus.label), stimulus, "thread")
    assert (first.sites, first.variant.predicted) == (("A",), 12.0)
    assert (second.sites, second.variant.predicted, second.variant.sd) == (("B",), None, None)


@pytest.mark.parametrize("radii", [(0.0,), (1.0, 1.0), (200.0,)])
def test_radii_are_checked(radii):
    with pytest.raises(SettingsError, match="radii"):
        validated(PerturbSettings, {"radii": radii}, where="test")


def played(folder: Path, protocol: str, noise: str, **settings: object) -> Path:
    """A whole session of one plan; see `played_together`."""
    return played_together(folder, f"{protocol}-{noise}", noise, {protocol: settings})


def played_together(
    folder: Path,
    name: str,
    noise: str,
    plans: dict[str, dict[str, object]],
    place: Placement | None = None,
) -> Path:
    """A whole session; neurons answer as the encoder predicts, brought to about `RATE`."""
    file = write_small_encoder(folder / "encoder.safetensors")
    model = load_encoder(file, device="cpu").encoder
    natural = model.predict(IMAGES)
    mean, sd = natural.mean(axis=0), natural.std(axis=0)
    common = {
        "encoder": str(file),
        "images": "embedded",
        "n_images": len(IMAGES),
        "image_size_px": SIZE_PX,
    }
    threads = tuple(
        ThreadSettings(
            name=protocol, protocol=protocol, settings={**common, **settings}, place=place
        )
        for protocol, settings in plans.items()
    )
    chosen = SessionSettings(session_id=name, seed=3, threads=threads)
    session = new_session(chosen, folder / f"{name}.sqlite")
    attach(session, SITES)
    random, known = random_stream(1, "spikes"), {}
    while session.n_answered < session.n_proposed:
        block = session.block(session.n_answered)
        assert block is not None
        keys = [image_id(image) for image in block.images]
        if new := [row for row, key in enumerate(keys) if key not in known]:
            z = (model.predict(block.images[new]) - mean) / sd
            known |= zip(
                [keys[row] for row in new], RATE * np.clip(1 + GAIN * z, 0.05, None), strict=True
            )
        rates = np.stack([known[key] for key in keys])
        responses = _answered(block, rates * WINDOW_S, noise, random)
        session.record(responses)
        session.learn(responses)
        session.advance()
    session.log.close()
    return folder / f"{name}.sqlite"


def _answered(block: Block, expected: np.ndarray, noise: str, random) -> BlockResponses:
    shown = []
    for cue in block.cues():
        counts = expected[cue.stimulus_index]
        drawn = counts if noise == "none" else random.poisson(counts)
        shown.append(
            cue.presentation(
                onset_s=0.2 * len(shown),
                outcome=Outcome.COMPLETED,
                spike_counts=tuple(float(n) for n in drawn),
            )
        )
    return BlockResponses(block_index=block.index, site_ids=SITES, presentations=tuple(shown))


SMALL: dict[str, Any] = {"n_bases": 6, "radii": [1.65, 6.6], "n_steps": 8, "repetitions": 10}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("variants")


@pytest.fixture(scope="module")
def noiseless(folder) -> Path:
    return played(folder, "perturb", "none", **{**SMALL, "repetitions": 1})


def test_every_variant_is_shown_with_its_base_in_every_pass_at_its_radius(noiseless):
    log = SessionLog(noiseless)
    blocks = [log.block(event) for event in log.events(EventKind.BLOCK_PROPOSED)]
    log.close()
    images = {image_id(image): image for block in blocks for image in block.images}
    record = read_variants(noiseless)
    assert len(record.bases) == 6
    assert len(record.variants) == 2 * 6 * (1 + 2 * len(SITES))
    for each in record.variants:
        base = images[record.bases[each.base].pixels]
        wanted = each.variant.amount
        assert rms_levels(images[each.pixels], base) == pytest.approx(wanted, rel=0.05)
        assert each.sites == SITES if each.variant.kind == "random" else len(each.sites) == 1


def test_without_noise_the_change_is_the_predicted_one_and_chance_is_small(noiseless):
    found = summarised(read_variants(noiseless))
    small, large = found.over_sites
    assert large.signed.mean > small.signed.mean > 0
    for row in found.over_sites:
        assert row.signed.mean > 4 * abs(row.random.mean)
        assert row.signed.mean > 2 * abs(row.others.mean)
        for site, own in ((e, e.sensitivity[0]) for e in found.sites):
            expected = own.predicted * GAIN * RATE / site.sd
            assert own.signed.mean == pytest.approx(expected, rel=0.02)
    assert {site.sd_is for site in found.sites} == {"predicted"}


def test_poisson_counts_recover_the_signed_sensitivity_and_not_the_naive_one(folder, noiseless):
    """A whole noisy session, and counts drawn anew twenty times for the images of the noiseless one."""
    noisy = summarised(read_variants(played(folder, "perturb", "poisson", **SMALL)))
    record = read_variants(noiseless)
    truth = summarised(record)
    true = truth.over_sites[0]
    assert noisy.over_sites[0].naive > true.naive
    signed, naive, covered = [], [], []
    for seed in range(20):
        random = random_stream(seed, "spikes again")
        rates = {
            key: random.poisson(np.repeat(rows * WINDOW_S, SMALL["repetitions"], axis=0)) / WINDOW_S
            for key, rows in record.rates.items()
        }
        found = summarised(record._replace(rates=rates))
        signed.append(found.over_sites[0].signed.mean / true.signed.mean)
        naive.append(found.over_sites[0].naive / true.naive)
        for site, known in zip(found.sites, truth.sites, strict=True):
            within = site.sensitivity[0].signed
            covered.append(within.low < known.sensitivity[0].signed.mean < within.high)
    assert np.mean(signed) == pytest.approx(1, abs=0.2)
    assert np.mean(naive) > 1.7
    assert min(naive) > 1.2
    assert np.mean(covered) > 0.85


def test_a_session_verifies_and_its_figures_are_drawn(noiseless, tmp_path):
    assert verify_replay(noiseless).n_images == 6 + 2 * 6 * (1 + 2 * len(SITES))
    record = read_variants(noiseless)
    drawn = draw_variants(summarised(record), record, tmp_path)
    assert [path.name for path in drawn] == ["sensitivity.png", "pairs.png"]
    assert all(path.stat().st_size > 5000 for path in drawn)


def test_the_command(noiseless, tmp_path):
    asked = ["variants", str(noiseless), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "signed change in SD, mean of 3 sites" in done.stdout
    found = Variants.model_validate_json((tmp_path / "out" / "variants.json").read_text("utf-8"))
    assert found == summarised(read_variants(noiseless))
    again = CliRunner().invoke(app, asked)
    assert "--overwrite" in str(again.exception)


def test_reduction_measures_what_the_overlay_claims(folder, tmp_path):
    path = played(folder, "reduction", "none", n_bases=3, repetitions=1)
    record = read_variants(path)
    found = summarised(record)
    kinds = {(part.share, part.kind) for part in found.parts_over_sites}
    assert kinds == {(share, kind) for share in (0.1, 0.25)
                     for kind in ("kept", "removed", "disc", "patch")}  # fmt: skip
    left = {(p.share, p.kind): p.left.mean for p in found.parts_over_sites}
    assert left[0.25, "kept"] > left[0.25, "patch"]
    assert left[0.25, "removed"] < 1
    drawn = draw_variants(found, record, tmp_path)
    assert [path.name for path in drawn] == ["parts.png", "pairs.png"]
    assert verify_replay(path).n_blocks > 0


def test_two_plans_at_a_place_keep_their_bases_apart(folder, tmp_path):
    """Base 0 of one is not base 0 of the other, and an image at a place is known by another id."""
    small = {"n_bases": 2, "radii": [6.6], "n_steps": 2, "repetitions": 1}
    parts = {"n_bases": 2, "shares": [0.25], "repetitions": 1, "targets": [SITES[0]]}
    plans = {"perturb": small, "reduction": parts}
    place = Placement(x_deg=1.0, y_deg=-2.0, size_deg=3.0)
    path = played_together(folder, "both", "none", plans, place)
    record = read_variants(path)
    log = SessionLog(path)
    for each in record.variants:
        image, base = log.array(each.pixels), log.array(record.bases[each.base].pixels)
        if each.thread == "perturb":
            assert rms_levels(image, base) == pytest.approx(6.6, rel=0.05)
        else:  # the soft mask leaves of every pixel a share between the mean colour and the base
            mean = base.mean(axis=(0, 1))
            low, high = np.minimum(base, mean), np.maximum(base, mean)
            assert bool(((image >= low - 1) & (image <= high + 1)).all())
    log.close()
    assert {thread for thread, _ in record.bases} == set(plans)
    report = write_report(path, tmp_path / "report", None)
    titles = [figure.title for figure in report.figures]
    assert titles[-3:] == ["Small changes", "Parts of images", "Variants in pairs"]
    page = report.page.read_text("utf-8")
    assert "Signed change in SD, mean of 3 sites" in page
    assert "Response left, mean of 3 sites" in page


def test_noise_of_the_mapping_does_not_count_as_responses_to_photographs():
    """SD of 5 over photographs, Poisson noise of means of two showings: about as large."""
    random = random_stream(0, "test")
    found = Reader()
    found.site_ids = ("a",)
    for number, rate in enumerate(30 + 5 * random.standard_normal(400)):
        counts = random.poisson(rate * WINDOW_S, size=2)
        found.mapped[str(number)] = [[float(count) / WINDOW_S] for count in counts]
        found.natural.add(str(number))
    (sd,) = sd_over_photographs(found)
    naive = np.std([np.mean(rows) for rows in found.mapped.values()])
    assert naive > 11
    assert sd == pytest.approx(5, abs=3)


def test_another_session_has_no_variants(tmp_path):
    from tests.control_log import write_control_log

    write_control_log(tmp_path / "s.sqlite")
    with pytest.raises(DataError, match="no variants"):
        read_variants(tmp_path / "s.sqlite")


@pytest.fixture(scope="module")
def corner(tmp_path_factory) -> Path:
    """Mapped, fitted and perturbed in one session; the subject looks at the upper right."""
    tmp_path = tmp_path_factory.mktemp("corner")
    thread = ThreadSettings(
        name="corner",
        protocol="perturb",
        settings={
            "n_images": 60,
            "image_size_px": SIZE_PX,
            "n_bases": 3,
            "radii": [6.6],
            "n_steps": 8,
            "mapping": {"repetitions": 1, "images_per_block": 60},
            "repetitions": 1,
            "fit": {"name": "two_stage", "options": FIT},
        },
    )
    settings = SessionSettings(session_id="corner", seed=3, threads=(thread,))
    session = new_session(settings, tmp_path / "corner.sqlite")
    attach(session, ("corner",))
    third = SIZE_PX // 3
    while session.n_answered < session.n_proposed:
        block = session.block(session.n_answered)
        assert block is not None
        counts = block.images[:, :third, -third:].mean(axis=(1, 2, 3)) / 10
        shown = tuple(
            cue.presentation(
                onset_s=0.2 * number,
                outcome=Outcome.COMPLETED,
                spike_counts=(float(counts[cue.stimulus_index]),),
            )
            for number, cue in enumerate(block.cues())
        )
        responses = BlockResponses(
            block_index=block.index, site_ids=("corner",), presentations=shown
        )
        session.record(responses)
        session.learn(responses)
        session.advance()
    session.log.close()
    return tmp_path / "corner.sqlite"


def test_a_report_has_a_row_for_each_site_of_the_fitted_encoder(corner, tmp_path):
    report = write_report(corner, tmp_path, None, explained=True)
    assert "What site corner wants" in [figure.title for figure in report.figures]
    document = json.loads((tmp_path / "explained" / "explain.json").read_text("utf-8"))
    # the photographs of the mapping, which the encoder was fitted to, and none of the variants
    assert document["n_images"] == 60
    assert "which the encoder was fitted to" in document["scored_on"]
    page = report.page.read_text("utf-8")
    assert "too good" in page
    assert 'href="explained/sites/corner.png"' in page
    assert 'href=""' not in page


def test_a_subject_whose_field_lies_in_a_corner_is_located(corner):
    """What is changed lies where the subject looks."""
    record = read_variants(corner)
    log = SessionLog(corner)
    shares = []
    for each in record.variants:
        if each.variant.kind in ("drive", "suppress"):
            image, base = (
                log.array(key).astype(float)
                for key in (each.pixels, record.bases[each.base].pixels)
            )
            power = ((image - base) ** 2).sum(axis=2)
            shares.append(power[: SIZE_PX // 2, SIZE_PX // 2 :].sum() / power.sum())
    log.close()
    assert np.mean(shares) > 0.5  # of a quarter of the area
    row = summarised(record).over_sites[0]
    assert row.signed.mean > 5 * abs(row.random.mean)
