"""Image generators: a code in, an image out. Importing this package imports no torch."""
