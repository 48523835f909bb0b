"""Speed, measured: `make benchmarks` runs them all and writes RESULTS.md."""
