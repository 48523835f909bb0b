"""When sites answer: time courses from spike times."""
