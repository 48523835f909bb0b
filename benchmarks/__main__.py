"""Run every benchmark, one after the other; each writes its section of RESULTS.md."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "turnaround",
    "log_commit",
    "waiting",
    "monitors",
    "export",
    "display",
    "evolution_gain",
    "drift",
    "fields",
    "placed_evolution",
    "warm_start",
    "encoder_service",
    "encoder_accuracy",
    "encoder_speed",
    "transfer",
    "attribution",
    "class_images",
    "learning",
    "optimizers",
    "evolution_twins",
    "generation_time",
)

for name in BENCHMARKS:
    print(f"--- {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
