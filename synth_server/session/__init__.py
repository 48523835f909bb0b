"""A session: plans in rotation, an append-only log, and recovery by replaying the one into the other."""
