"""Receptive fields from spike counts: significance, the fitted Gaussian, its intervals."""
