"""The recorder of docs/how-to/write-an-acquisition.md, in front of a source that a lab could write."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from protocols.conformance import check_recorder
from protocols.interfaces import SessionInfo
from protocols.vocabulary import Block, Role, Timing

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "write-an-acquisition.md"
RATE_HZ = 30_000
TIMING = Timing(on_ms=20, off_ms=0, count_start_ms=30, count_stop_ms=70)
START, STOP = 900, 2100
LOST_WORD, LOST_LINE = 1, 3


class TextSource:
    """A trigger and a recorder in one: says what the recorder would, at once."""

    def __init__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._number = 0
        self._now = 100_000

    def accept(self):
        self._client, _ = self._server.accept()
        self._say(f"time {self._now}")
        self._now += 60_000

    def stage(self, block):
        pass

    def send(self, word, cue):
        at = self._now
        lines = [f"spike A1 {at + offset}" for offset in (START - 1, START, STOP - 1, STOP)]
        lines += [f"spike A2 {at + 1500}"] * cue.stimulus_index
        lines += [f"time {at + 6000}"]
        if cue.stimulus_index != LOST_WORD:
            lines.insert(0, f"word {word} {at}")
        self._number += cue.stimulus_index == LOST_LINE
        for line in lines:
            self._say(line)
        self._now += 6000

    def clear(self):
        pass

    def close(self):
        self._client.close()
        self._server.close()

    def _say(self, line):
        for part in (f"{self._number} {line}"[:4], f"{self._number} {line}\n"[4:]):
            self._client.sendall(part.encode())
        self._number += 1


@pytest.fixture
def text_recorder():
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.S | re.M)
    assert len(code.splitlines()) < 100
    names = {"__name__": "text_recorder"}
    exec(compile(code, PAGE.name, "exec", dont_inherit=True), names)
    return names["TextRecorder"]


def test_the_example_keeps_the_recorders_contract(text_recorder, images):
    source = TextSource()
    options = {"sites": ["A1", "A2"], "port": source.port, "tolerance_ms": 1e4, "word_wait_ms": 500}
    recorder = text_recorder(text_recorder.Settings(**options), SessionInfo(session_id="s", seed=0))
    try:
        source.accept()
        deadline_s = time.monotonic() + 60
        while recorder.trouble():
            assert time.monotonic() < deadline_s, recorder.trouble()
        block = Block.of(images, roles=Role.CONTROL, timing=TIMING).at(0, "t")

        def expected(cue):
            if cue.stimulus_index in (LOST_WORD, LOST_LINE):
                return None
            return np.array([2.0, cue.stimulus_index])

        faults = check_recorder(recorder, source, block, expected)
    finally:
        recorder.close()
        source.close()
    assert {cue.stimulus_index: fault for cue, fault in faults.items()} == {
        LOST_WORD: "missing_word",
        LOST_LINE: "message_gap",
    }
