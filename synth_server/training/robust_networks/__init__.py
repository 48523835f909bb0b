"""How the robust networks were trained: `python -m synth_server.training.robust_networks`."""
