"""Checks of what surrounds the rig: plug-ins, keys, disk, server."""

from __future__ import annotations

import json
import shutil
import tempfile
from concurrent.futures import TimeoutError as NotDone
from pathlib import Path
from urllib.parse import urlsplit

import zmq

from protocols import plugins
from protocols.checkup import Finding
from protocols.errors import Refusal, StimloopError
from protocols.wire import WIRE_VERSION
from protocols.wire import messages as msg
from protocols.wire.channels import Context, connect
from protocols.wire.codec import encode
from protocols.wire.security import is_loopback, load_client_keys
from rig_client.link import Link
from rig_client.settings import RigSettings

PROBE_MS = 1000
ENOUGH_BYTES, LITTLE_BYTES = 1_000_000_000, 100_000_000
PARTS = {
    "acquisition": "stimloop.acquisitions",
    "trigger": "stimloop.triggers",
    "reward": "stimloop.rewards",
    "display": "stimloop.displays",
    "fixation": "stimloop.fixations",
}


def settings(rig: RigSettings) -> Finding:
    """All chosen plug-ins are installed, and their options right."""
    for part, group in PARTS.items():
        choice = getattr(rig, part)
        plugins.settings_of(group, choice, plugins.load(group, choice.name))
    chosen = ", ".join(f"{part} {getattr(rig, part).name}" for part in PARTS)
    return Finding(name="settings", status="pass", detail=chosen)


def keys(rig: RigSettings) -> Finding:
    """Keys are there, whole, and readable by their owner alone."""
    if rig.keys is not None:
        load_client_keys(rig.keys)
        return Finding(name="keys", status="pass", detail=f"{rig.keys}, private")
    host = urlsplit(rig.server).hostname or ""
    if not rig.server.startswith("tcp://") or is_loopback(host):
        return Finding(name="keys", status="skip", detail="the server is on this computer")
    return Finding(
        name="keys",
        status="fail",
        detail=f"none, and {rig.server} is another computer",
        remedy="on the server: synth-server keys DIR --client NAME; carry for-NAME here, set keys",
    )


def disk(rig: RigSettings, free_bytes: int | None = None) -> Finding:
    """The spool's disk has room and can be written to; `free_bytes` for tests."""
    folder = rig.spool.absolute()
    while not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"stimloop")
        file.flush()
    free = shutil.disk_usage(folder).free if free_bytes is None else free_bytes
    n_waiting = len(list(Path(rig.spool).glob("*/block-*.json")))
    detail = f"{free / 1e9:.1f} GB free for {rig.spool}"
    detail += f"; {n_waiting} blocks wait there for their server" if n_waiting else ""
    if free >= ENOUGH_BYTES:
        return Finding(name="disk", status="pass", detail=detail)
    return Finding(
        name="disk",
        status="warn" if free >= LITTLE_BYTES else "fail",
        detail=detail,
        remedy="make room, or set spool to another disk",
    )


def server(rig: RigSettings, wait_s: float) -> Finding:
    """The server answers, and speaks this wire version."""
    link = Link(
        rig.server, rig.session_id, load_client_keys(rig.keys) if rig.keys else None, rig.resend_s
    )
    link.start()
    try:
        welcome = link.request(msg.Hello()).result(timeout=wait_s)
    except NotDone:
        return _unanswered(rig, link.trouble)
    except Refusal as refusal:
        return Finding(
            name="server",
            status="fail",
            detail=f"{rig.server} refuses this rig: {refusal.what}",
            remedy=refusal.remedy or "see the server's log",
        )
    except StimloopError as error:
        return Finding(name="server", status="fail", detail=error.what, remedy=error.remedy)
    finally:
        link.close()
    session = (
        f"session {welcome.session_id}, {welcome.state}" if isinstance(welcome, msg.Welcome) else ""
    )
    detail = f"{rig.server}: {session}; wire version {WIRE_VERSION}"
    return Finding(name="server", status="pass", detail=detail)


def _unanswered(rig: RigSettings, trouble: str) -> Finding:
    """Nobody there, not admitted, or somebody who speaks another version."""
    name = "server"
    if trouble:
        what, *details = trouble.splitlines()
        remedy = next((d.split(": ", 1)[1] for d in details if "what to do" in d), "")
        return Finding(name=name, status="fail", detail=what, remedy=remedy)
    version = _foreign_version(rig)
    if version is not None and version != WIRE_VERSION:
        return Finding(
            name=name,
            status="fail",
            detail=f"{rig.server} speaks wire version {version}, this rig {WIRE_VERSION}",
            remedy="install the same version of stimloop on both computers",
        )
    return Finding(
        name=name,
        status="fail",
        detail=f"no answer from {rig.server}",
        remedy="start it: synth-server serve session.toml; check server in rig.toml, the network",
    )


def _foreign_version(rig: RigSettings) -> object:
    """The wire version of whatever answers; None if nothing does."""
    context: Context = zmq.Context()
    socket = connect(
        context, zmq.DEALER, rig.server, load_client_keys(rig.keys) if rig.keys else None
    )
    try:
        socket.send_multipart(encode(msg.Hello(), request_id="doctor", session=rig.session_id))
        if not socket.poll(PROBE_MS):
            return None
        header = json.loads(socket.recv_multipart()[0])
        return header.get("wire") if isinstance(header, dict) else None
    except (ValueError, zmq.ZMQError):
        return None
    finally:
        context.destroy(linger=0)
