"""Figures of a session; those of `synth-server results` are in `results`."""
