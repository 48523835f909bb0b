"""Bytes and files of recorders, read and written; no connections."""
