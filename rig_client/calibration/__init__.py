"""Calibration: how large a degree is, how bright a gray level, and when light really comes."""
