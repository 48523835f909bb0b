"""Whole sessions through emulated recorders: real processes, real sockets, a clock that passes.

What a session is does not depend on who counted the spikes: through each recorder's format it reaches
the digest of the session that asks the simulated neurons directly. Where a recorder fails on the way,
presentations are shown again, so attempts, and with them the noise of their counts, differ.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import tomli_w

from protocols.settings import merged
from protocols.vocabulary import Outcome
from rig_client.emulators import STREAMING
from synth_server.session.recovery import verify_replay
from tests.end_to_end.processes import (
    Lab,
    Process,
    Recipe,
    blocks_and_responses,
    check_finished,
    eventually,
    what_was_counted,
)

KINDS = sorted(STREAMING)
RECIPE = Recipe(seed=8, threads=("site-00",), generations=2, population=4, image_ms=10)
PATIENT = {"tolerance_ms": 300, "settle_ms": 50, "word_wait_ms": 8000}
"""This computer may be busy with other things; a rehearsal does not depend on how fast it is."""
FAULTS = {
    "disconnected",
    "message_gap",
    "missing_word",
    "recorder_restarted",
    "silent_stream",
    "unexpected_word",
    "word_off_clock",
}


def emulate(lab: Lab, kind: str, *options: str) -> tuple[Process, dict[str, Any]]:
    """An emulator of `kind` whose neurons are the recipe's, and what belongs into rig.toml."""
    neurons = {"neurons": lab.recipe.rig("")["acquisition"]}
    (lab.folder / "emulator.toml").write_text(tomli_w.dumps(neurons), "utf-8")
    announcement = lab.folder / "emulator.json"
    announcement.unlink(missing_ok=True)
    arguments = ["emulate", kind, "--config", "emulator.toml", "--latency-ms", "150"]
    arguments += ["--announce", announcement.name, *options]
    process = Process("emulator", "rig_client.cli", arguments, lab.folder)
    lab.processes.append(process)
    eventually(announcement.exists, "the emulator announced itself", alive=[process])
    parts = json.loads(announcement.read_text("utf-8"))
    quiet = {"quiet_ms": 5000} if kind in ("open-ephys-events", "lsl") else {}
    return process, merged(parts, {"acquisition": {"options": {**PATIENT, **quiet}}})


def ports(kind: str, parts: dict[str, Any]) -> list[str]:
    """Options that make a new emulator take the old one's place."""
    options = parts["acquisition"]["options"]
    rehearsal = parts["trigger"]["options"]["address"]
    found = {"rehearsal_port": rehearsal}
    match kind:
        case "open-ephys-events":
            found["port"] = options["address"]
        case "open-ephys-zmq":
            found |= {"port": options["address"], "heartbeat_port": options["heartbeat_address"]}
        case "intan":
            names = ("command_port", "waveform_port", "spike_port")
            found |= {name: options[name] for name in names}
        case "cerebus":
            found["port"] = options["ports"][0]
        case "lsl":
            found |= {name: f'"{options[name]}"' for name in ("spikes", "words")}
    settings = [f"{name}={str(value).rpartition(':')[2]}" for name, value in found.items()]
    return [word for setting in settings for word in ("--set", setting)]


def check_complete(lab: Lab) -> Counter[str]:
    """Everything was counted once, nothing guessed; which faults there were."""
    faults: Counter[str] = Counter()
    for block, responses in blocks_and_responses(lab.log):
        asked = Counter((cue.stimulus_id, cue.repetition) for cue in block.cues())
        counted = Counter((shown.stimulus_id, shown.repetition) for shown in responses.completed())
        assert counted == asked, f"block {block.index}"
        for shown in responses.presentations:
            faults[shown.fault] += shown.fault != ""
            assert (shown.outcome is Outcome.COMPLETED) <= (shown.onset_clock == "recorder")
    report = verify_replay(lab.log)
    assert report.end == "finished"
    assert report.n_blocks == lab.recipe.n_blocks
    return +faults


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_session_through_a_recorder_is_the_same_session(
    kind: str, new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """Presentations that the simulated recorder loses lose their word here, and are lost here too.

    Counts are the same; spike times are not, since each draws its own within the window.
    """
    lab = new_lab(RECIPE)
    emulator, parts = emulate(lab, kind, "--any-port", "--drift-ppm", "200")
    lab.rig_overrides = parts
    digest = lab.run_to_end()
    assert emulator.stop() == 0, emulator.output
    assert set(check_complete(lab)) == {"missing_word"}
    check_finished(lab, digest)
    reference = Lab(lab.folder.parent / "reference", RECIPE)
    try:
        assert reference.run_to_end() == undisturbed(RECIPE)
    finally:
        reference.clean_up()
    assert what_was_counted(lab) == what_was_counted(reference)
    clocks = [responses.clock for _, responses in blocks_and_responses(lab.log)]
    assert all(clock is not None and clock.n_words > 0 for clock in clocks)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_recorder_that_is_killed_and_started_again(
    kind: str, new_lab: Callable[..., Lab]
) -> None:
    lab = new_lab(RECIPE)
    emulator, parts = emulate(lab, kind, "--any-port")
    silence = {"acquisition": {"options": {"silence_s": 0.5}}}
    lab.rig_overrides = merged(parts, silence)
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.trials_shown() >= 2, "two trials", alive=[server, rig, emulator])
    emulator.kill9()
    told = "silent" if kind == "cerebus" else "no connection to the recorder"
    eventually(lambda: told in rig.output, "the rig noticed", alive=[server, rig])
    emulator, _ = emulate(lab, kind, *ports(kind, parts))
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    faults = check_complete(lab)
    assert faults
    assert set(faults) <= FAULTS


@pytest.mark.slow
def test_a_recorder_that_restarts_by_itself_with_a_bad_connection(
    new_lab: Callable[..., Lab],
) -> None:
    lab = new_lab(RECIPE)
    options = ("--any-port", "--restart-after-s", "2", "--loss", "0.02", "--jitter-ms", "10")
    _, parts = emulate(lab, "open-ephys-zmq", *options)
    lab.rig_overrides = parts
    lab.run_to_end()
    faults = check_complete(lab)
    assert faults["message_gap"]
    assert faults["disconnected"]
    assert set(faults) <= FAULTS
