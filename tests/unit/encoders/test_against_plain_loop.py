"""The fit of all sites at once finds what a loop over sites finds, written apart and in numpy."""

import numpy as np
import pytest
import torch

from benchmarks.plain_loop import fit_site
from encoders.alternating import fit_alternating
from encoders.two_stage import Penalties


@pytest.mark.parametrize("n_channels", [6, 90])
def test_both_fits_predict_the_same(n_channels):
    random = np.random.default_rng(0)
    features = random.standard_normal((60, n_channels, 4, 5), dtype=np.float32)
    seen = features[:, :3, 1:3, 2:4].mean(axis=(2, 3))
    responses = (seen + 0.1 * random.standard_normal(seen.shape)).astype(np.float32)
    responses = (responses - responses.mean(axis=0)) / responses.std(axis=0)
    weights = random.integers(1, 5, responses.shape).astype(np.float32)
    weights /= weights.sum(axis=0)
    penalties, solver = Penalties(), {"max_sweeps": 60, "tolerance": 0.0}

    together = fit_alternating(
        *map(torch.tensor, (features, responses, weights)), penalties, **solver
    )
    predicted = together(torch.tensor(features)).numpy()
    for site in range(responses.shape[1]):
        alone = fit_site(features, responses[:, site], weights[:, site], penalties, **solver)
        assert predicted[:, site] == pytest.approx(alone(features), abs=0.01)
        assert np.ptp(predicted[:, site]) > 1
