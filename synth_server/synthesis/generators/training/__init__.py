"""How the bundled generator was trained: `python -m synth_server.synthesis.generators.training`."""
