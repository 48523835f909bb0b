"""Recorders: what counts the spikes."""
