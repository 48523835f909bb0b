#!/usr/bin/env bash
# Makes the virtual environment that `make demo` and `make test` use; installs what the system lacks
# (Python's venv module, what a window needs) where this user may (Debian, root), else says exactly
# what to install. Without a window all works but its own tests, which are skipped.
set -euo pipefail
venv=${1:?usage: scripts/setup.sh VENV}

find_python() { # PsychoPy wants 3.12 or 3.11; without it, 3.13 will do
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
WINDOW_DEBIAN=(xvfb xauth libgl1-mesa-dri libgl1 libglu1-mesa libegl1 libxi6 libxrandr2 libxinerama1
    libxcursor1 libjack-jackd2-0 libportaudio2 fontconfig
    chromium) # the monitor's tests
WINDOW_FEDORA="xorg-x11-server-Xvfb mesa-dri-drivers mesa-libGL mesa-libGLU mesa-libEGL libXi libXrandr
    libXinerama libXcursor jack-audio-connection-kit portaudio fontconfig"

have_package() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

install_window_packages() {
    local missing=() package
    if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
        for package in "${WINDOW_DEBIAN[@]}"; do
            have_package "$package" || missing+=("$package")
        done
        [ ${#missing[@]} = 0 ] && return
        if [ "$(id -u)" = 0 ]; then
            echo "installing what a window needs (apt-get): ${missing[*]}"
            apt-get update -qq || true
            for package in "${missing[@]}"; do # one by one: names differ between releases
                DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" \
                    >/dev/null 2>&1 || echo "  not available here: $package" >&2
            done
        else
            echo "For windows in memory (dry runs and tests of the PsychoPy display):" >&2
            echo "  sudo apt-get install ${missing[*]}" >&2
        fi
    elif command -v dnf >/dev/null && ! command -v Xvfb >/dev/null; then
        echo "For windows in memory (dry runs and tests of the PsychoPy display):" >&2
        echo "  sudo dnf install" $WINDOW_FEDORA >&2
    fi
}

install_stimloop() { # a line every ten seconds: how long, and how much is there
    local started=$SECONDS status=0
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e ".[$1]" &
    local pip=$!
    while kill -0 "$pip" 2>/dev/null; do
        if [ $(((SECONDS - started) % 10)) = 9 ]; then
            echo "  $((SECONDS - started + 1)) s, $(du -sh "$venv" 2>/dev/null | cut -f1) in $venv"
        fi
        sleep 1
    done
    wait "$pip" || status=$?
    return "$status"
}

install_window_packages
echo "installing stimloop with all extras into $venv: about 8 GB, some minutes the first time"
if ! install_stimloop server,rig,lsl,cerebus,shared-folder,nwb,campaign,monitor,docs,test; then
    echo "PsychoPy cannot be installed here; going on without: tests of its window are skipped" >&2
    install_stimloop server,lsl,cerebus,shared-folder,nwb,campaign,monitor,docs,test
fi
rm -f "$venv"/.ready-*
