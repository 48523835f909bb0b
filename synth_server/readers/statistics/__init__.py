"""Means, confidence intervals, effect sizes and permutation tests, of plain arrays."""
