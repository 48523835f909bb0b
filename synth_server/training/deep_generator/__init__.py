"""How the bundled generator was trained: `python -m synth_server.training.deep_generator`."""
