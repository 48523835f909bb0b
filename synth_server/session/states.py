"""What state a session is in, and what commands make of it."""

from __future__ import annotations

from protocols.wire.messages import SessionState

COMMANDS = ("pause", "resume", "stop", "abort", "annotate")
TRANSITIONS: dict[tuple[SessionState, str], SessionState] = {
    ("running", "pause"): "paused",
    ("paused", "resume"): "running",
    ("running", "stop"): "stopping",
    ("paused", "stop"): "stopping",
    ("running", "abort"): "aborted",
    ("paused", "abort"): "aborted",
    ("stopping", "abort"): "aborted",
}
"""(state, command) → the state that follows; a command that is not here changes nothing."""
