"""Our commands as processes of their own, forked from one that has imported their libraries.

A command is started some thousand times in these tests, and would spend most of its time importing
torch, scipy and matplotlib. It has an address space, signals, files and an exit status of its own, as
`python -m` gives it. What a start from nothing does is seen by the tests of README, tutorial and wheel.
"""

from __future__ import annotations

import atexit
import importlib
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

LIBRARIES = (
    "fastapi",
    "jinja2",
    "matplotlib.pyplot",
    "plotly.graph_objects",
    "pydantic",
    "scipy.stats",
    "skimage",
    "sklearn",
    "torch",
    "torchvision",
    "uvicorn",
    "zmq",
    "synth_server.dry_run",
    "synth_server.serve",
    "synth_server.session.build",
    "synth_server.session.recovery",
    "rig_client.client",
    "simulated_neurons.acquisition",
)
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(list(LIBRARIES))


def start(
    module: str,
    arguments: Sequence[str | Path],
    *,
    folder: Path,
    stdout: Path,
    stderr: Path,
    environment: Mapping[str, str],
) -> BaseProcess:
    """Begin `python -m module arguments` in `folder`; its output is appended to the files.

    `stderr` may be the file of `stdout`.
    """
    process = _forks.Process(
        target=_command,
        args=(module, [str(each) for each in arguments], folder, stdout, stderr, environment),
        daemon=False,
    )
    process.start()
    return process


def _command(
    module: str,
    arguments: list[str],
    folder: Path,
    stdout: Path,
    stderr: Path,
    environment: Mapping[str, str],
) -> None:
    """What the new process does."""
    for path, descriptor in ((stdout, 1), (stderr, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    program = importlib.import_module(module)
    sys.argv = [str(program.__file__), *arguments]
    try:
        program.main()
    finally:
        atexit._run_exitfuncs()
