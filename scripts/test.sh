#!/usr/bin/env bash
# All tests, and beside them the types for three systems: tests wait for processes, types compute.
# Usage: scripts/test.sh BIN WORKERS [pytest's options]
set -uo pipefail
bin=$1 workers=$2
shift 2
said=$(mktemp)
trap 'rm -f "$said"' EXIT
{
    nice -n 10 "$bin/mypy" &&
        nice -n 10 "$bin/mypy" --platform win32 &&
        nice -n 10 "$bin/mypy" --platform darwin
} >"$said" 2>&1 &
types=$!
# Files in the order of their folders: the long ones, end_to_end, come before the many short ones.
"$bin/pytest" -n "$workers" --dist loadfile --no-loadscope-reorder -rs "$@"
tests=$?
wait "$types"
typed=$?
cat "$said"
[ "$tests" = 0 ] && [ "$typed" = 0 ]
