"""Gradient-free optimizers: they propose codes and learn from their fitness alone."""
