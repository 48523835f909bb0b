"""How many receptive fields anybody could find at most, beside what `map_fields` finds.

The sites of `benchmarks.fields` (same seeds), without a session: an observer who knows each site's
field, texture gains, baseline and noise, and asks at p < 0.005 whether its counts are those of that field
or of a site that answers each texture and patch size as often wherever it is. His test is the likelihood
ratio of both (negative binomial, Fano 1.5, 100 ms), the most powerful there is; its moments are exact,
its sum over hundreds of showings is taken as normal. He searches nowhere: an estimator finds fewer. The
fine grid lies around the true median centre.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import nbinom

from benchmarks.fields import (
    AIMS,
    BASELINE,
    CELLS,
    FANO,
    N_ARRAYS,
    N_SITES,
    N_TEXTURES,
    PATCHES_DEG,
    PEAKS,
    WINDOW_S,
    FieldSites,
)
from benchmarks.results import table, write_section
from protocols.experiments.map_fields import MapFieldsSettings
from protocols.vocabulary import Placement

ALPHA = 0.005
MOST_SPIKES = 60
"""In 100 ms; more are not counted with."""
NORMAL = NormalDist()
SHOWN = {CELLS[0]: (10, 0), CELLS[1]: (20, 0), CELLS[2]: (10, 10), CELLS[3]: (10, 20)}
"""Showings of each place of the coarse grid, and of the fine one."""
Floats = NDArray[np.float64]


def powers(sites: FieldSites, drive: float, coarse: int, fine: int) -> Floats:
    """`(n_sites,)` probability that the observer says that there is a field."""
    settings = MapFieldsSettings()
    centre = np.median(sites.fields[:, :2], axis=0).round(1)
    moments = np.zeros((4, len(sites.fields)))
    grids = (
        (settings.coarse, np.zeros(2), PATCHES_DEG[0], coarse),
        (settings.fine, centre, PATCHES_DEG[1], fine),
    )
    for grid, middle, patch_deg, n in grids:
        if not n:
            continue
        steps = (np.arange(grid.n_across) - (grid.n_across - 1) / 2) * grid.step_deg
        places = [(middle[0] + x, middle[1] + y) for x in steps for y in steps]
        covered = np.array(
            [
                sites._part(
                    Placement(
                        x_deg=round(float(x), 3), y_deg=round(float(y), 3), size_deg=patch_deg
                    )
                )
                for x, y in places
            ]
        )
        rate = BASELINE + drive * covered[:, None] * sites._gains.T
        spikes = rate * (WINDOW_S[1] - WINDOW_S[0])
        flat = np.broadcast_to(spikes.mean(axis=0), spikes.shape)
        moments += of_ratio(spikes, flat).sum(axis=(1, 2)) * n / N_TEXTURES
    flat_mean, flat_variance, field_mean, field_variance = moments
    threshold = flat_mean + NORMAL.inv_cdf(1 - ALPHA) * np.sqrt(flat_variance)
    apart = (field_mean - threshold) / np.sqrt(field_variance)
    return np.array([NORMAL.cdf(each) for each in apart])


def of_ratio(spikes: Floats, flat: Floats) -> Floats:
    """`(4, …)`: mean and variance of the log likelihood ratio of a count, if flat and if not.

    Args:
        spikes: Expected with the field.
        flat: Expected without.
    """
    counts = np.arange(MOST_SPIKES)
    log_p = [
        nbinom.logpmf(counts, mean[..., None] / (FANO - 1), 1 / FANO) for mean in (flat, spikes)
    ]
    ratio = log_p[1] - log_p[0]
    found = []
    for each in log_p:
        p = np.exp(each)
        mean = (p * ratio).sum(axis=-1)
        found += [mean, (p * ratio**2).sum(axis=-1) - mean**2]
    return np.stack(found)


def main() -> None:
    """Measure and write the section."""
    rows = []
    for peak in PEAKS:
        arrays = [
            FieldSites(np.random.default_rng((int(peak), number)), N_SITES, peak - BASELINE)
            for number in range(N_ARRAYS)
        ]
        for cell, shown in SHOWN.items():
            most = np.mean([powers(sites, peak - BASELINE, *shown) for sites in arrays])
            rows.append([f"{peak:g}", cell, f"{100 * most:.0f} %", f"{AIMS[peak, cell][2]} %"])
    head = ("peak, sp/s", "shown", "found at most", "issue 18 asks for")
    text = f"{__doc__ or ''}\n{table(head, rows)}"
    write_section("Receptive fields: at most", "python -m benchmarks.fields_ceiling", text)


if __name__ == "__main__":
    main()
