"""Readers of the session log: they read documents, and nothing else."""
