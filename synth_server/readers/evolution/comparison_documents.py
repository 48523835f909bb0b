"""What is reported of evolved images against natural ones."""

from __future__ import annotations

from typing import Literal

from protocols.settings import Frozen
from synth_server.readers.statistics.bootstrap import Estimate

MeasuredIn = Literal["test", "generations"]


class SiteComparison(Frozen):
    """One driven site: mean spikes, and `gain = evolved / best_natural`."""

    site: str
    evolved: Estimate
    best_natural: Estimate
    gain: Estimate


class Comparison(Frozen):
    """Evolved against natural images; counts are mean spikes over the sites that are driven.

    Attributes:
        measured_in: The test at the end, or the generations themselves.
        n_evolved: Images; of `generations`, those of the last ones, counted in each anew.
        evolved: Mean over the evolved images.
        other_natural: Mean over the natural images that were not put into the test for being best.
        best_natural: Mean count of the best natural image, on counts that it was not chosen by.
        best_of: Natural images from which the best was chosen: all that the thread ever showed.
        best_natural_ids: Which: one, or two if halves of the counts disagree.
        gain: `evolved / best_natural`.
        gain_over_highest: Evolved ÷ the natural image that came out highest: errs low.
        score_difference: Objective score of the evolved images minus the best natural image's.
        effect_size: Cohen's d of single showings, evolved against the best natural image.
        p_best_natural: Permutation test over showings, evolved against the best natural image.
        p_natural: Permutation test over images, evolved against all natural ones.
    """

    measured_in: MeasuredIn
    n_evolved: int
    n_evolved_showings: int
    n_natural: int
    n_other_natural: int
    n_best_natural_showings: int
    evolved: Estimate
    other_natural: Estimate
    best_natural: Estimate
    best_of: int
    best_natural_ids: tuple[str, ...]
    best_natural_names: tuple[str, ...]
    chosen_by: str
    gain: Estimate
    gain_over_highest: float | None
    score_difference: Estimate
    effect_size: Estimate
    p_best_natural: float | None
    p_natural: float | None
    sites: tuple[SiteComparison, ...]
