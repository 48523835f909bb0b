#!/usr/bin/env bash
# Makes the virtual environment that `make demo` and `make test` use; installs Python's venv module
# where it is missing and this user may (Debian, root), else says exactly what to install.
set -euo pipefail
venv=${1:?usage: scripts/setup.sh VENV}

find_python() {
    for name in python3.12 python3.11 python3.13 python3; do
        command -v "$name" >/dev/null || continue
        "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || continue
        echo "$name" && return
    done
    return 1
}

have_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

if ! python=$(find_python) || ! have_venv "$python"; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing Python and its venv module (apt-get)"
        apt-get update -qq && apt-get install -y -qq python3 python3-venv python3-pip >/dev/null
    fi
    if ! python=$(find_python) || ! have_venv "$python"; then
        echo "stimloop needs Python 3.11, 3.12 or 3.13 with its venv module." >&2
        echo "  Debian, Ubuntu:  sudo apt-get install python3 python3-venv python3-pip" >&2
        echo "  Fedora:          sudo dnf install python3" >&2
        echo "  macOS:           brew install python@3.12" >&2
        exit 1
    fi
fi

if ! "$venv/bin/python" -c '' 2>/dev/null; then
    echo "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi
echo "installing stimloop with [server,test]; torch is large, the first time takes some minutes"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[server,test]'
rm -f "$venv"/.ready-*
