"""Perturb and reduction: through real sessions of simulated neurons whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from encoders.backbones.one_thread import one_thread
from encoders.checkpoint import load_encoder
from protocols.digests import image_id
from protocols.documents import EventKind, SessionSettings, ThreadSettings
from protocols.errors import DataError, SettingsError
from protocols.experiments.perturb import PerturbSettings
from protocols.experiments.variants import Variant, VariantStimuli, base_label, base_number
from protocols.seeds import random_stream
from protocols.settings import validated
from protocols.vocabulary import Block, BlockResponses, Outcome
from synth_server.session.build import new_session
from synth_server.session.log import SessionLog
from synth_server.session.recovery import verify_replay
from synth_server.synthesis.ball import BallSpace, at_radius, random_change, rms_levels
from synth_server.synthesis.photographs import load_photographs
from synth_server.variants.figure import draw_variants
from synth_server.variants.reading import read_variants
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


@pytest.mark.parametrize("radii", [(0.0,), (1.0, 1.0), (200.0,)])
def test_radii_are_checked(radii):
    with pytest.raises(SettingsError, match="radii"):
        validated(PerturbSettings, {"radii": radii}, where="test")


def played(folder: Path, protocol: str, noise: str, **settings: object) -> Path:
    """A whole session; neurons answer as the encoder predicts, brought to about `RATE`."""
    file = write_small_encoder(folder / "encoder.safetensors")
    model = load_encoder(file, device="cpu").encoder
    natural = model.predict(IMAGES)
    mean, sd = natural.mean(axis=0), natural.std(axis=0)
    thread = ThreadSettings(
        name=protocol,
        protocol=protocol,
        settings={
            "encoder": str(file),
            "images": "embedded",
            "n_images": len(IMAGES),
            "image_size_px": SIZE_PX,
            **settings,
        },
    )
    chosen = SessionSettings(session_id=protocol, seed=3, threads=(thread,))
    session = new_session(chosen, folder / f"{protocol}-{noise}.sqlite")
    attach(session, SITES)
    random = random_stream(1, "spikes")
    while session.n_answered < session.n_proposed:
        block = session.block(session.n_answered)
        assert block is not None
        rates = RATE * np.clip(1 + GAIN * (model.predict(block.images) - mean) / sd, 0.05, None)
        responses = _answered(block, rates * WINDOW_S, noise, random)
        session.record(responses)
        session.learn(responses)
        session.advance()
    session.log.close()
    return folder / f"{protocol}-{noise}.sqlite"


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


SMALL = {"n_bases": 6, "radii": [1.65, 6.6], "n_steps": 8, "repetitions": 40}


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
        base = images[record.bases[each.variant.base]]
        wanted = each.variant.amount
        assert rms_levels(images[each.image], base) == pytest.approx(wanted, rel=0.05)
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
    noisy = summarised(read_variants(played(folder, "perturb", "poisson", **SMALL)))
    truth = summarised(read_variants(noiseless))
    for site, true in zip(noisy.sites, truth.sites, strict=True):
        row, wanted = site.sensitivity[0], true.sensitivity[0].signed.mean
        half = (row.signed.high - row.signed.low) / 2
        assert row.signed.low - half < wanted < row.signed.high + half
    small, wanted = noisy.over_sites[0], truth.over_sites[0]
    assert small.signed.low < wanted.signed.mean < small.signed.high
    assert small.naive > 1.4 * wanted.naive


def test_a_session_verifies_and_its_figures_are_drawn(noiseless, tmp_path):
    assert verify_replay(noiseless).n_images == 6 + 2 * 6 * (1 + 2 * len(SITES))
    record = read_variants(noiseless)
    drawn = draw_variants(summarised(record), record, tmp_path)
    assert [path.name for path in drawn] == ["sensitivity.png", "pairs.png"]
    assert all(path.stat().st_size > 5000 for path in drawn)


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


def test_another_session_has_no_variants(tmp_path):
    from tests.control_log import write_control_log

    write_control_log(tmp_path / "s.sqlite")
    with pytest.raises(DataError, match="no variants"):
        read_variants(tmp_path / "s.sqlite")


def test_a_subject_whose_field_lies_in_a_corner_is_located(tmp_path):
    """Mapped, fitted and perturbed in one session: what is changed lies where the subject looks."""
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
    record = read_variants(tmp_path / "corner.sqlite")
    log = SessionLog(tmp_path / "corner.sqlite")
    shares = []
    for each in record.variants:
        if each.variant.kind in ("drive", "suppress"):
            image, base = (
                log.array(key).astype(float)
                for key in (each.image, record.bases[each.variant.base])
            )
            power = ((image - base) ** 2).sum(axis=2)
            shares.append(power[: SIZE_PX // 2, SIZE_PX // 2 :].sum() / power.sum())
    log.close()
    assert np.mean(shares) > 0.5  # of a quarter of the area
    row = summarised(record).over_sites[0]
    assert row.signed.mean > 5 * abs(row.random.mean)
