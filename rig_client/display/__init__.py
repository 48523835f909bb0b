"""Displays: what shows the images."""
