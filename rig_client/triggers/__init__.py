"""Triggers: trial words to the recorder."""
