"""From image to predicted rate."""
