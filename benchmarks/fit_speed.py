"""Fits of all sites at once beside a loop over sites and neuralpredictors; a part of `encoder_speed`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.encoder_data import SINGLE, SOLVER, Problem, Run, Timed, problem, side_by_side
from benchmarks.peers import fit_factorised, missing
from benchmarks.plain_loop import fit_site
from benchmarks.results import table
from encoders.alternating import fit_alternating
from encoders.fitting import FitSettings, fit
from encoders.two_stage import Penalties, Readout
from protocols.vocabulary import Rates

FACTORISED_STRENGTHS = (1e-4, 3e-4, 1e-3)
"""Of neuralpredictors' penalty; its best on the inner validation images is taken."""


def fits(run: Run) -> str:
    """All sites at once, one at a time, and neuralpredictors."""
    posed = problem(run.parts.train, run.parts.test.images, SINGLE, run.store)
    penalties = Penalties()
    n_sites = posed.responses.shape[1]
    one_layer = FitSettings(taps=(SINGLE,))
    tasks: dict[str, Callable[[], Any]] = {
        "all sites at once": lambda: _ours(posed, penalties),
        "one site at a time": lambda: _one_by_one(posed, penalties),
        "all sites at once, penalties chosen": lambda: fit(run.parts.train, one_layer, run.store),
    }
    without = missing("neuralpredictors")
    if not without:
        tasks |= {
            f"neuralpredictors, L1 {strength:g}": _factorised_task(posed, strength)
            for strength in FACTORISED_STRENGTHS
        }
    fit(run.parts.train, one_layer, run.store)  # loads the network, which is not to be timed
    timed = side_by_side(tasks, run.repeats, run.clock)
    ours, loop, chosen = (timed[name] for name in list(tasks)[:3])
    rows = [
        _fit_row(run, "all sites at once", ours, ours.result(posed.held_out_features).numpy()),
        _fit_row(run, "the same, one site at a time", loop, _looped(posed, loop), ours),
        _fit_row(
            run,
            f"all at once, best of {len(one_layer.penalties)} penalties in {one_layer.n_folds} folds",
            chosen,
            chosen.result.encoder.predict(run.parts.test.images, run.store),
        ),
    ]
    if not without:
        rows += _factorised_rows(run, posed, timed, ours, chosen)
    head = ["fit", "s", "÷ ours", "median r", "noise-corrected"]
    agreement = _agreement(ours.result(posed.held_out_features).numpy(), _looped(posed, loop))
    text = (
        f"{n_sites} sites, {len(posed.features)} images, features at hand "
        f"({'×'.join(map(str, posed.features.shape[1:]))}), held-out accuracy beside. The loop over "
        f"sites does the same maths in numpy; its predictions agree with ours to r ≥ {agreement:.4f}. "
        "neuralpredictors' `FullFactorized2d`: Adam, its own early stopping on a tenth of the "
        "images, the penalty that does best there; 'search' is the time of all penalties, and is "
        "compared with our choice of penalties."
    )
    return f"{text}\n\n{table(head, rows)}\n\n{without}".strip()


def _ours(posed: Problem, penalties: Penalties) -> Readout:
    return fit_alternating(posed.features, posed.responses, posed.weights, penalties, **SOLVER)


def _one_by_one(posed: Problem, penalties: Penalties) -> list[Any]:
    features, responses, weights = (tensor.numpy() for tensor in posed[:3])
    return [
        fit_site(features, responses[:, site], weights[:, site], penalties, **SOLVER)
        for site in range(responses.shape[1])
    ]


def _looped(posed: Problem, loop: Timed) -> Rates:
    """Predictions of the sites' own fits, `(n, n_sites)`."""
    features = posed.held_out_features.numpy()
    return np.stack([site(features) for site in loop.result], axis=1).astype(np.float64)


def _agreement(a: Any, b: Any) -> float:
    """The lowest correlation over sites of two predictions."""
    return min(float(np.corrcoef(x, y)[0, 1]) for x, y in zip(a.T, b.T, strict=True))


def _factorised_task(posed: Problem, strength: float) -> Callable[[], Any]:
    return lambda: fit_factorised(posed.features, posed.responses, posed.weights, strength)


def _factorised_rows(
    run: Run, posed: Problem, timed: Mapping[str, Timed], ours: Timed, chosen: Timed
) -> list[list[str]]:
    tried = [timed[name] for name in timed if name.startswith("neuralpredictors")]
    best = max(range(len(tried)), key=lambda i: tried[i].result.validation_r)
    predicted = tried[best].result(posed.held_out_features)
    name = f"neuralpredictors, its best penalty (L1 {FACTORISED_STRENGTHS[best]:g})"
    search = Timed(sum(each.seconds for each in tried), None)
    return [
        _fit_row(run, name, tried[best], predicted, ours),
        _fit_row(run, "neuralpredictors, search", search, predicted, chosen),
    ]


def _fit_row(
    run: Run, name: str, timed: Timed, predicted: Any, reference: Timed | None = None
) -> list[str]:
    r, corrected = run.parts.median_r(np.asarray(predicted, dtype=np.float64))
    ratio = "" if reference is None else f"**{timed.seconds / reference.seconds:.1f}**"
    return [name, f"{timed.seconds:.2f}", ratio, f"{r:.3f}", f"{corrected:.3f}"]
