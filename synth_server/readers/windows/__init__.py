"""Other count windows than the session's own, and the table of sites that follows from spike times."""
