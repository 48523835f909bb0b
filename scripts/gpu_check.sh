#!/usr/bin/env bash
# On a computer with CUDA: runs every path that may use a GPU there and on the CPU, compares, times,
# and writes the section "On a GPU" of benchmarks/RESULTS.md. Ends with 0 if all gave the same.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
[ -x "$venv/bin/python" ] || scripts/setup.sh "$venv"
"$venv/bin/python" - <<'END'
import torch
if not torch.cuda.is_available():
    raise SystemExit(f"torch {torch.__version__} sees no CUDA device here; nothing was checked")
print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
END
exec "$venv/bin/python" -m benchmarks.devices --device cuda "$@"
