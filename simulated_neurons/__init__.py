"""Ground truth that no encoder ever saw: simulated populations, spiking, recorder and gaze.

Importing this package imports no torch; the populations that need it import it themselves.
"""
