#!/usr/bin/env bash
# On a computer with CUDA: runs every path that may use a GPU there and on the CPU, compares, times,
# and writes the section "On a GPU" of benchmarks/RESULTS.md. Ends with 0 if all gave the same.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
[ -x "$venv/bin/python" ] || scripts/setup.sh "$venv"
exec "$venv/bin/python" -m benchmarks.devices --device cuda "$@"
