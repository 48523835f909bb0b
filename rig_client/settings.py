"""`rig.toml`: this rig, its display, its recorder, and the server that it serves."""

from __future__ import annotations

import socket
from pathlib import Path

from pydantic import Field

from protocols.settings import Frozen, PluginChoice


class RigSettings(Frozen):
    """Settings of a rig.

    Attributes:
        server: The server's work address.
        session_id: Which of its sessions to serve; may be empty while it has only one.
        rig_id: This rig's name; a restarted or replaced computer keeps it.
        keys: Folder made by `synth-server keys … --client NAME`, for a server on another computer.
        spool: Where responses lie until the server has them.
        silence_s: How long the server may be silent before the screen says so.
        resend_s: How long an answer is waited for before the request is sent again.
        display: What shows the images.
        acquisition: What counts the spikes.
        fixation: What knows where the subject looks.
        trigger: What carries the trial words to the recorder.
        reward: What pays for a trial.
        word_bits: Digital lines for trial words, which run from 1 to 2^word_bits − 1.
    """

    server: str = Field(default="tcp://127.0.0.1:5570", pattern=r"^(tcp|ipc|inproc)://")
    session_id: str = Field(default="", max_length=64)
    rig_id: str = Field(default_factory=lambda: socket.gethostname()[:64] or "rig", min_length=1)
    keys: Path | None = None
    spool: Path = Path("spool")
    silence_s: float = Field(default=5.0, gt=0, le=3600)
    resend_s: float = Field(default=3.0, ge=0.05, le=60)
    display: PluginChoice = PluginChoice(name="headless")
    acquisition: PluginChoice = PluginChoice(name="simulated")
    fixation: PluginChoice = PluginChoice(name="none")
    trigger: PluginChoice = PluginChoice(name="none")
    reward: PluginChoice = PluginChoice(name="none")
    word_bits: int = Field(default=8, ge=2, le=32)
