"""Receptive fields that a session mapped."""
