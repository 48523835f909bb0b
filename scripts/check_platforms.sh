#!/usr/bin/env bash
# Checks, from any system, what can be checked of Windows and macOS without them: that types hold there,
# and that core and rig resolve to wheels (nothing to compile on a rig's computer).
# usage: scripts/check_platforms.sh [VENV]   (a virtual environment with mypy; default .venv)
set -euo pipefail
venv=${1:-.venv}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

for platform in win32 darwin; do
    echo "types on $platform"
    "$venv/bin/mypy" --platform "$platform"
done

"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --target "$tools" uv
# Distributions without wheels, which need no compiler: pure Python (esprima comes with PsychoPy).
SOURCES=(--no-binary esprima)
resolve() { # PLATFORM PYTHON EXTRA...
    local platform=$1 python=$2 extras=()
    shift 2
    for extra in "$@"; do extras+=(--extra "$extra"); done
    echo "wheels on $platform, Python $python: core ${*:-}"
    PYTHONPATH=$tools "$tools/bin/uv" pip compile --quiet --no-header --only-binary :all: "${SOURCES[@]}" \
        --python-platform "$platform" --python-version "$python" "${extras[@]}" \
        --output-file "$tools/resolved.txt" pyproject.toml
    echo "  $(grep -c '==' "$tools/resolved.txt") distributions, nothing to compile"
}
for platform in x86_64-pc-windows-msvc aarch64-apple-darwin; do
    for python in 3.11 3.12; do
        resolve "$platform" "$python"
        resolve "$platform" "$python" rig
    done
    resolve "$platform" 3.13
done
