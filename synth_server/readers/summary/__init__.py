"""A session in few numbers: `summary.json`, the list of sessions, live progress."""
