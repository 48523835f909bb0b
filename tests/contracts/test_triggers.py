"""Every installed trigger that needs no device of its own keeps the contract."""

from __future__ import annotations

import pytest

from protocols import plugins
from protocols.conformance import check_trigger
from protocols.errors import PluginError
from protocols.interfaces import SessionInfo
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Role

GROUP = "stimloop.triggers"
NEED_A_FAR_END = {"serial", "parallel", "labjack", "open_ephys_network_events", "rehearsal"}
"""Checked in `tests/unit/rig/test_triggers.py` or `tests/contracts/test_recorders.py`, where there is one."""
SESSION = SessionInfo(session_id="s", seed=0)


@pytest.fixture
def block(images):
    return Block.of(images, roles=Role.CONTROL).at(0, "t")


@pytest.mark.parametrize("name", sorted(set(plugins.names(GROUP)) - NEED_A_FAR_END))
def test_trigger_keeps_its_contract(name, block):
    check_trigger(plugins.create(GROUP, PluginChoice(name=name), SESSION), block)


class _Line:
    """Breaks the contract: the far end sees clearing as a word."""

    def __init__(self):
        self.seen = []

    def stage(self, block):
        pass

    def send(self, word, cue):
        self.seen.append(word)

    def clear(self):
        self.seen.append(0)

    def close(self):
        pass


def test_a_breach_is_named(block):
    line = _Line()
    with pytest.raises(PluginError, match="arrive once"):
        check_trigger(line, block, arrived=lambda n: line.seen)
