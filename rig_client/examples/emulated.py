"""`rig.toml` files that work with `rig-client emulate KIND` on the same computer, as they are."""

from __future__ import annotations

from protocols.errors import SettingsError

SITES = ("site-00", "site-01", "site-02", "site-03")
"""The first of the emulators' simulated neurons."""
DEFAULT = "open-ephys-events"
_LIST = "sites = [{}]".format(", ".join(f'"{site}"' for site in SITES))
_ACQUISITIONS = {
    "open-ephys-events": f"""\
name = "open_ephys_events"

[acquisition.options]
address = "tcp://127.0.0.1:5557"  # the emulator's, as it prints it
sample_rate_hz = 30000
{_LIST}
""",
    "open-ephys-zmq": f"""\
name = "open_ephys_zmq"

[acquisition.options]
address = "tcp://127.0.0.1:5556"  # the emulator's, as it prints it
heartbeat_address = "tcp://127.0.0.1:5557"
sample_rate_hz = 30000
{_LIST}
""",
    "intan": """\
name = "intan"

[acquisition.options]
host = "127.0.0.1"
command_port = 5000              # the emulator's, as it prints them
waveform_port = 5001
spike_port = 5002
sample_rate_hz = 30000
sites = { site-00 = "A-000", site-01 = "A-001", site-02 = "A-002", site-03 = "A-003" }
""",
    "cerebus": """\
name = "cerebus"

[acquisition.options]
host = "127.0.0.1"
ports = [51002]                  # the emulator's, as it prints it
sites = { site-00 = "1", site-01 = "2", site-02 = "3", site-03 = "4" }
""",
    "lsl": """\
name = "lsl"

[acquisition.options]
spikes = "emulated spikes"       # the emulator's streams, as it prints them
words = "emulated words"
sites = { site-00 = "site-00", site-01 = "site-01", site-02 = "site-02", site-03 = "site-03" }
""",
}
_TEXT = """\
# rig.toml
# A rehearsal with an emulated recorder, on one computer and without a screen. Start first, each in a
# terminal of its own:
#   synth-server serve session.toml
#   rig-client emulate {kind}
# and then: rig-client run --config rig.toml

server = "tcp://127.0.0.1:5570"
rig_id = "rehearsal"
spool = "spool"                  # responses lie here until the server has them

[display]
name = "headless"                # shows nothing; "psychopy" opens a window
options = {{ clock = "real" }}     # the emulator's time is real, so the display's must be

[acquisition]
{acquisition}
[trigger]
name = "rehearsal"               # tells the emulator's neurons what is on the screen
options = {{ address = "tcp://127.0.0.1:5599" }}
"""


def kinds() -> tuple[str, ...]:
    """Recorders that can be emulated."""
    return tuple(sorted(_ACQUISITIONS))


def text(kind: str = "") -> str:
    """The file for `kind`, by default Open Ephys' events.

    Raises:
        SettingsError: If it is not emulated; the message lists what is.
    """
    kind = kind or DEFAULT
    if kind not in _ACQUISITIONS:
        raise SettingsError(
            "there is no such example with an emulator", expected=", ".join(kinds()), got=kind
        )
    return _TEXT.format(kind=kind, acquisition=_ACQUISITIONS[kind])
