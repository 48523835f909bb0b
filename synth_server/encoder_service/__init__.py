"""Encoders for any client, in a process of their own: predictions and syntheses while sessions run."""
