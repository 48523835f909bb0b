"""PsychoPy's ioHub: started quietly, and what it said where it failed."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from protocols.errors import RigError
from rig_client.installed import imported

logger = logging.getLogger(__name__)

EVENT_BUFFER = 8192
"""Samples that ioHub keeps until they are asked for; the most that it allows."""
CAUSES = re.compile(
    r"error|exception|refused|fail|not found|no module|could not|cannot|timed? ?out|requires", re.I
)
NOISE = re.compile(r"^\s*(File |\^|~|During handling)|Traceback|Error during device creation")
N_LINES = 6


def launch(window: Any, device: str, config: dict[str, Any], folder: Path) -> tuple[Any, Any]:
    """Start ioHub with one eye tracker; returns ioHub and the tracker.

    Args:
        window: A `psychopy.visual.Window`.
        device: ioHub's class of the tracker.
        config: Its configuration.
        folder: Where files that the tracker sends are to lie.

    Raises:
        InstallationError: If ioHub is not installed.
        RigError: If it does not start; says what ioHub said.
    """
    iohub = imported("psychopy.iohub", needed_by="ioHub", install="pip install 'stimloop[rig]'")
    hub = None
    with tempfile.TemporaryFile() as output:
        try:
            with _output_into(output), _script_in(folder):
                hub = iohub.launchHubServer(window=window, **{device: {**config}})
                tracker = hub.getDevice(config["name"])
                if tracker is None or not hasattr(tracker, "setRecordingState"):
                    raise RuntimeError("ioHub started without it")
        except Exception as error:  # ioHub raises many kinds
            if hub is not None:
                with contextlib.suppress(Exception), _output_into(output):
                    hub.quit()
            output.seek(0)
            said = causes(output.read().decode(errors="replace"))
            raise RigError(
                "the eye tracker cannot be started through ioHub",
                where=f"fixation option device: {device}",
                got="; ".join([f"{type(error).__name__}: {error}", *said]),
                remedy="is the tracker on, its program running, its cable and address right? Compare "
                "fixation.options.config with ioHub's documentation of this tracker",
            ) from error
    return hub, tracker


def check_connected(tracker: Any, device: str, config: dict[str, Any]) -> None:
    """An EyeLink that was not reached is replaced by one that knows nothing; refuse that.

    Raises:
        RigError: If it was, and was not asked for.
    """
    asked = bool(config.get("enable_interface_without_connection"))
    if asked or not tracker.getConfiguration().get("enable_interface_without_connection"):
        return
    raise RigError(
        "the eye tracker was not reached",
        where=f"fixation option device: {device}",
        expected=f"an EyeLink at {config.get('network_settings', '100.1.1.1')}",
        got="no connection",
        remedy="start the Host PC's program; give this computer's port an address such as 100.1.1.2, "
        "mask 255.255.255.0; compare fixation.options.config.network_settings",
    )


def set_up(tracker: Any, device: str) -> None:
    """The tracker's own set-up procedure, in windows of its own.

    Raises:
        RigError: If it fails or is left before its end.
    """
    result = tracker.runSetupProcedure()
    if isinstance(result, dict) and "ABORTED" not in str(result.get("RESULT", "")):
        logger.info("the eye tracker was set up: %s", result)
        return
    raise RigError(
        "the eye tracker's set-up was left before its end, or failed",
        where=f"fixation option device: {device}",
        got=result,
        remedy="start the rig client again, or leave it out: fixation.options.calibrate = false",
    )


def end(hub: Any) -> None:
    """End ioHub's process; what it says by the way is nobody's."""
    with tempfile.TemporaryFile() as output, _output_into(output):
        hub.quit()


def temporary_folder() -> str:
    """For files that nobody wants."""
    return tempfile.mkdtemp(prefix="stimloop-")


def causes(output: str) -> list[str]:
    """The lines of ioHub's output that say what went wrong, each once, the last ones."""
    lines = [line.strip() for line in output.splitlines()]
    telling = [
        line
        for place, line in enumerate(lines)
        if line
        and not NOISE.search(line)
        and (CAUSES.search(line) or (place and "errors count" in lines[place - 1]))
    ]
    return list(dict.fromkeys(telling))[-N_LINES:]


@contextlib.contextmanager
def _output_into(file: IO[bytes]) -> Iterator[None]:
    """What this process and those that it starts write goes into a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), before, strict=True):
            os.dup2(original, descriptor)
            os.close(original)


@contextlib.contextmanager
def _script_in(folder: Path) -> Iterator[None]:
    """IoHub puts files of the tracker beside the script that was started."""
    before = sys.argv[0]
    sys.argv[0] = str(folder.absolute() / "stimloop")
    try:
        yield
    finally:
        sys.argv[0] = before
