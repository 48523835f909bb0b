"""The rig: shows what the server proposes, counts spikes, loses nothing. Needs no torch."""
