"""Checks of a server's computer before a session; each a function that says what it found."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

import zmq

from protocols import plugins
from protocols.checkup import Finding, tried
from protocols.errors import StimloopError, WireError
from protocols.installation import check_no_name_collision
from protocols.seeds import random_stream
from protocols.settings import PluginChoice
from protocols.wire.channels import Context, bind
from protocols.wire.security import load_server_keys

PORTS = {"work": 5570, "control": 5571, "events": 5572, "encoders": 5573}
PYTHONS = ((3, 11), (3, 14))
"""From, and below."""
ENOUGH_BYTES, LITTLE_BYTES = 20_000_000_000, 1_000_000_000
NETWORKS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
EXTRAS = {"pynwb": "export-nwb", "pyarrow": "export-csv to Parquet"}


def examine(folder: Path, keys: Path | None = None) -> Iterator[Finding]:
    """Check this computer; one finding after the other, as they come.

    Args:
        folder: Where session logs shall lie.
        keys: The server's keys, if rigs are on other computers.
    """
    checks: dict[str, Callable[[], Finding]] = {
        "versions": versions,
        "packages": packages,
        "torch": torch_pair,
        "device": device,
        "generator": generator,
        "networks": networks,
        "disk": lambda: disk(folder),
        "ports": ports,
        "keys": lambda: private_keys(keys),
        "exports": exports,
    }
    for name, check in checks.items():
        yield tried(name, check)


def versions(python: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """A Python that stimloop is tested with; and what is installed."""
    detail = f"Python {python[0]}.{python[1]}"
    for name in ("stimloop", "numpy", "pyzmq", "torch", "torchvision"):
        detail += f", {name} {_version(name)}"
    if PYTHONS[0] <= python < PYTHONS[1]:
        return Finding(name="versions", status="pass", detail=detail)
    remedy = "make an environment with Python 3.11, 3.12 or 3.13"
    return Finding(name="versions", status="fail", detail=detail, remedy=remedy)


def packages() -> Finding:
    """No other distribution owns one of our package names."""
    check_no_name_collision()
    return Finding(name="packages", status="pass", detail="no other owner of our package names")


def torch_pair() -> Finding:
    """torch and torchvision are built for each other: an operator of torchvision runs."""
    try:
        import torch
        import torchvision
    except ImportError as error:
        return Finding(
            name="torch",
            status="warn",
            detail=f"cannot be imported: {error}",
            remedy="pip install 'stimloop[server]'; without it, only --generator pixels and fourier",
        )
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.1]])
    try:
        kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5)
    except (RuntimeError, NotImplementedError) as error:
        return Finding(
            name="torch",
            status="fail",
            detail=f"torchvision does not fit torch: {str(error).splitlines()[0]}",
            remedy="install both from one index: pip install --force-reinstall torch torchvision",
        )
    detail = f"torch {torch.__version__} and torchvision {torchvision.__version__} work together"
    return Finding(name="torch", status="pass" if kept.tolist() == [0] else "fail", detail=detail)


def device() -> Finding:
    """The accelerator computes; without one, the processor does."""
    import torch

    if not torch.cuda.is_available():
        detail = f"no accelerator; {torch.get_num_threads()} threads of {os.cpu_count()} processors"
        return Finding(name="device", status="pass", detail=detail)
    ones = torch.ones(64, 64, device="cuda")
    if float((ones @ ones).sum()) != 64.0**3:
        return Finding(name="device", status="fail", detail="the accelerator computes wrongly")
    free, total = torch.cuda.mem_get_info()
    detail = f"{torch.cuda.get_device_name()}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free; "
    detail += "stimloop is untested on GPUs: scripts/gpu_check.sh compares yours with the processor"
    if free < LITTLE_BYTES:
        remedy = "end other programs that use it (nvidia-smi names them)"
        return Finding(name="device", status="warn", detail=detail, remedy=remedy)
    return Finding(name="device", status="pass", detail=detail)


def generator() -> Finding:
    """The bundled generator's weights are whole, and draw."""
    made: Any = plugins.create("stimloop.generators", PluginChoice(name="deep"))
    codes = made.sample_codes(1, random_stream(0, "doctor"))
    image = made(codes)[0]
    detail = f"deep, {made.code_dim} numbers → {image.shape[0]} px, weights {made.digest[:12]}…"
    return Finding(name="generator", status="pass", detail=detail)


def networks() -> Finding:
    """The encoders' networks have their pretrained weights, and the robust ones."""
    missing = []
    for name, weights in product(NETWORKS, ("robust", "default")):
        choice = PluginChoice(name=name, options={"layer": "blocks.0", "weights": weights})
        try:
            plugins.create("stimloop.backbones", choice)
        except StimloopError as error:
            missing.append(f"{name}, {weights}: {error.what}")
    if not missing:
        return Finding(name="networks", status="pass", detail=", ".join(NETWORKS))
    return Finding(
        name="networks",
        status="warn",
        detail="; ".join(missing),
        remedy="pip install 'stimloop[server]'; needed to fit encoders (stretch, one-hot)",
    )


def disk(folder: Path, free_bytes: int | None = None) -> Finding:
    """There is room for logs, and SQLite's write-ahead log works there; `free_bytes` for tests."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free if free_bytes is None else free_bytes
    detail = f"{free / 1e9:.1f} GB free in {folder}"
    with (
        tempfile.TemporaryDirectory(dir=there, prefix=".stimloop-doctor-") as place,
        closing(sqlite3.connect(Path(place) / "try.sqlite")) as db,
    ):
        (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        remedy = "choose a disk of this computer for logs, not a network share"
        detail = f"SQLite's write-ahead log does not work in {folder}"
        return Finding(name="disk", status="fail", detail=detail, remedy=remedy)
    if free >= ENOUGH_BYTES:
        return Finding(name="disk", status="pass", detail=detail)
    return Finding(
        name="disk",
        status="warn" if free >= LITTLE_BYTES else "fail",
        detail=detail,
        remedy="make room: 10,000 images of 128 px take 0.7 GB; a full disk halts a session",
    )


def ports(numbers: dict[str, int] | None = None) -> Finding:
    """The default ports are free; or a server of ours has them."""
    context: Context = zmq.Context()
    taken = []
    try:
        for name, port in (PORTS if numbers is None else numbers).items():
            try:
                socket, _ = bind(context, zmq.ROUTER, "127.0.0.1", port)
                socket.close(linger=0)
            except WireError:
                taken.append((name, port))
    finally:
        context.term()
    if not taken:
        detail = ", ".join(str(port) for port in (numbers or PORTS).values()) + " are free"
        return Finding(name="ports", status="pass", detail=detail)
    detail = ", ".join(f"{port} ({name})" for name, port in taken) + " taken"
    serving = _serving(dict(taken).get("control"))
    return Finding(
        name="ports",
        status="warn",
        detail=f"{detail}, by a server of session {serving}" if serving else f"{detail}",
        remedy="end that server first, or move all ports of this one: serve --work-port 0",
    )


def private_keys(folder: Path | None) -> Finding:
    """The server's keys are whole, and readable by their owner alone."""
    if folder is None:
        detail = "none: rigs on this computer only (--keys FOLDER)"
        return Finding(name="keys", status="skip", detail=detail)
    load_server_keys(folder)
    return Finding(name="keys", status="pass", detail=f"{folder}, private")


def exports() -> Finding:
    """What writes files for archives is installed."""
    missing = [f"{name} ({what})" for name, what in EXTRAS.items() if not _version(name, "")]
    if missing:
        remedy = "pip install 'stimloop[nwb]'"
        detail = f"not installed: {', '.join(missing)}"
        return Finding(name="exports", status="skip", detail=detail, remedy=remedy)
    detail = ", ".join(f"{name} {_version(name)}" for name in EXTRAS)
    return Finding(name="exports", status="pass", detail=detail)


def _serving(port: int | None) -> str:
    """The sessions of a server that answers there without keys; empty if none does."""
    from synth_server.control_socket import ask

    if port is None:
        return ""
    try:
        sessions = ask("status", f"tcp://127.0.0.1:{port}")
    except StimloopError:
        return ""
    return ", ".join(session.session_id for session in sessions)


def _version(name: str, missing: str = "not installed") -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return missing
