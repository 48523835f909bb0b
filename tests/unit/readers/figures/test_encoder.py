"""The validation figure: its parts stand where the encoder's numbers put them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from encoders.encoder import Scaling, TwoStageEncoder
from encoders.ensemble import EnsembleEncoder
from encoders.features import FeatureExtractor, Tap
from encoders.recording import Recording
from encoders.two_stage import Readout
from encoders.validation import Scores, SiteScore, evaluate
from protocols.errors import DataError
from synth_server.readers.figures.encoder import draw_encoder, shown_sites

TAP = Tap(layer="blocks.1", input_px=None, weights="random")


def an_encoder(n_sites: int = 3, height: int = 32, width: int = 48) -> TwoStageEncoder:
    """Site i looks at one place of the map, along its diagonal."""
    extractor = FeatureExtractor(TAP, device="cpu")
    channels, h, w = extractor(torch.zeros(1, 3, height, width)).shape[1:]
    masks = torch.zeros(n_sites, h, w)
    for site in range(n_sites):
        masks[site, min(site, h - 1), min(site, w - 1)] = 1 + site
    one = torch.ones(channels)
    readout = Readout(masks, one.expand(n_sites, -1) / channels, torch.zeros(n_sites))
    responses = Scaling(torch.full((n_sites,), 5.0), torch.ones(n_sites))
    names = tuple(f"site-{number}" for number in range(n_sites))
    return TwoStageEncoder(extractor, Scaling(0 * one, one), readout, responses, names)


@pytest.fixture(scope="module")
def encoder() -> TwoStageEncoder:
    return an_encoder()


def held_out(encoder: TwoStageEncoder, n_repeats: int = 6, noise: float = 0.5) -> Recording:
    """What the encoder predicts, with noise that grows from site to site; sites in reverse."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (30, 32, 48, 3), dtype=np.uint8)
    rates = encoder.predict(images).T
    spread = rates.std(axis=1)[:, None, None] * noise * (1 + np.arange(len(rates)))[:, None, None]
    trials = rates[:, :, None] + spread * random.standard_normal((*rates.shape, n_repeats))
    return Recording.of(images, trials[::-1], encoder.site_ids[::-1])


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """Figures as they were when they were saved."""
    kept: list[Figure] = []
    save = Figure.savefig

    def savefig(self: Figure, *args: object, **kwargs: object) -> None:
        kept.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return kept


def texts(figure: Figure) -> str:
    from matplotlib.text import Text

    return "\n".join(part.get_text() for part in figure.findobj(Text))


def test_the_figure_shows_masks_fields_predictions_and_scores(encoder, drawn, tmp_path):
    from matplotlib.collections import PathCollection
    from matplotlib.patches import Circle

    recording = held_out(encoder)
    scores = evaluate(encoder, recording, np.random.default_rng(0))
    draw_encoder(encoder, recording, scores, tmp_path / "e.png", px_per_deg=16, unit="spikes/s")

    (figure,) = drawn
    assert len(figure.findobj(Circle)) == 3
    dots = [np.asarray(each.get_offsets()) for each in figure.findobj(PathCollection)]
    chosen = [index for _, index in shown_sites(scores)]
    assert sorted(chosen) == [0, 1, 2]
    mine = recording.of_sites(encoder.site_ids)
    predicted = encoder.predict(mine.images)
    for index, offsets in zip(chosen, dots, strict=True):
        assert offsets == pytest.approx(np.stack([predicted[:, index], mine.means[:, index]], 1))
    said = texts(figure)
    best = scores.sites[chosen[0]]
    assert f"best: site {best.site}\nr {best.r:.2f}, noise-corrected" in said
    assert f"median {scores.median('r'):.2f}, 3 of 3 sites" in said
    assert "image: 48 px = 3°" in said
    assert "measured, spikes/s" in said
    with Image.open(tmp_path / "e.png") as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels[0, 0] == pixels[-1, -1] == 255
    assert 0.02 < (pixels < 200).mean() < 0.5


def test_the_circles_are_where_the_masks_look(encoder, drawn, tmp_path):
    from matplotlib.patches import Circle

    recording = held_out(encoder)
    scores = evaluate(encoder, recording, np.random.default_rng(0))
    draw_encoder(encoder, recording, scores, tmp_path / "e.png")
    circles = drawn[0].findobj(Circle)
    canvas = next(a for a in drawn[0].axes if a.images).images[0].get_array()
    for circle in circles:
        x, y = (round(value) for value in circle.center)
        assert canvas[y, x] > 0.5


def test_without_trials_the_figure_says_what_is_not_known(encoder, drawn, tmp_path):
    whole = held_out(encoder)
    recording = Recording.of(whole.images, whole.means.T, whole.site_ids)
    scores = evaluate(encoder, recording, np.random.default_rng(0))
    draw_encoder(encoder, recording, scores, tmp_path / "e.png")
    assert "reliability: not known (needs single trials)" in texts(drawn[0])
    assert "noise-corrected –" in texts(drawn[0])


@pytest.mark.parametrize("n_sites", [1, 160, 401])
def test_one_site_and_very_many_can_be_drawn(n_sites, drawn, tmp_path):
    encoder = an_encoder(n_sites)
    recording = held_out(encoder, n_repeats=2)
    scores = evaluate(encoder, recording, np.random.default_rng(0))
    draw_encoder(encoder, recording, scores, tmp_path / "e.png")
    assert ("the first 400 of 401 sites" in texts(drawn[0])) == (n_sites == 401)
    assert "best: site" in texts(drawn[0])


def test_an_ensemble_is_drawn(encoder, drawn, tmp_path):
    recording = held_out(encoder)
    predicted = encoder.predict(recording.images)
    both = EnsembleEncoder.calibrated([encoder, encoder], [predicted, predicted], predicted)
    scores = evaluate(both, recording, np.random.default_rng(0))
    draw_encoder(both, recording, scores, tmp_path / "e.png")
    assert (tmp_path / "e.png").stat().st_size > 10_000


def test_scores_of_other_sites_are_refused(encoder, tmp_path):
    recording = held_out(encoder)
    scores = evaluate(encoder, recording, np.random.default_rng(0))
    fewer = Scores(n_images=scores.n_images, sites=scores.sites[:2])
    with pytest.raises(DataError, match="not this encoder's"):
        draw_encoder(encoder, recording, fewer, tmp_path / "e.png")
    assert not (tmp_path / "e.png").exists()


def of_scores(*pairs: tuple[float | None, float | None]) -> Scores:
    sites = tuple(
        SiteScore(site=str(i), r=r, reliability=None, r_noise_corrected=c, explained_variance=None)
        for i, (r, c) in enumerate(pairs)
    )
    return Scores(n_images=10, sites=sites)


def test_best_median_and_worst_are_chosen_among_sites_with_a_score():
    scores = of_scores((0.9, 0.5), (0.95, None), (0.2, 0.8), (0.3, 0.6), (0.7, 0.7), (0.1, 0.1))
    assert shown_sites(scores) == (("best", 2), ("median", 3), ("worst", 5))
    assert shown_sites(of_scores((0.4, None), (0.6, None))) == (("best", 1), ("worst", 0))
    assert shown_sites(of_scores((0.4, None))) == (("best", 0),)
    assert shown_sites(of_scores((None, None))) == ()
