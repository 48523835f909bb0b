"""What variants of images did to neurons: sensitivity to small changes, and what is left of a response."""
