"""How the bundled networks were trained: the deep generator, and the robust networks."""
