"""Where images come from: generators, optimizers, objectives, photographs.

Importing this package imports no torch; only the modules that need it do.
"""
