"""`rig.toml`: this rig, its display, its recorder, and the server that it serves."""

from __future__ import annotations

import socket
from pathlib import Path

from pydantic import Field

from protocols.errors import SettingsError
from protocols.settings import Frozen, PluginChoice, read_toml
from rig_client.trial_settings import TrialSettings


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
        display: What shows the images; there is no default.
        acquisition: What counts the spikes; there is no default.
        fixation: What knows where the subject looks.
        trigger: What carries the trial words to the recorder.
        reward: What pays for a trial.
        word_bits: Digital lines for trial words, which run from 1 to 2^word_bits − 1.
        trial: What the rig does when the subject does not work.
    """

    server: str = Field(default="tcp://127.0.0.1:5570", pattern=r"^(tcp|ipc|inproc)://")
    session_id: str = Field(default="", max_length=64)
    rig_id: str = Field(default_factory=lambda: socket.gethostname()[:64] or "rig", min_length=1)
    keys: Path | None = None
    spool: Path = Path("spool")
    silence_s: float = Field(default=5.0, gt=0, le=3600)
    resend_s: float = Field(default=3.0, ge=0.05, le=60)
    display: PluginChoice
    acquisition: PluginChoice
    fixation: PluginChoice = PluginChoice(name="none")
    trigger: PluginChoice = PluginChoice(name="none")
    reward: PluginChoice = PluginChoice(name="none")
    word_bits: int = Field(default=8, ge=2, le=32)
    trial: TrialSettings = TrialSettings()


def read_settings(path: Path) -> RigSettings:
    """The settings of a `rig.toml`.

    Raises:
        SettingsError: If it is not there, cannot be read, or names no display or no recorder.
    """
    if not path.is_file():
        raise SettingsError(
            "there is no rig.toml",
            where=str(path),
            expected="a file that names this rig's display and recorder",
            got="nothing there",
            remedy="rig-client example NAME > rig.toml (rig-client example lists the recorders), "
            "or name another file: --config FILE",
        )
    return read_toml(RigSettings, path)
