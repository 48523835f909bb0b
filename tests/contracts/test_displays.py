"""Every installed display keeps the contract."""

from __future__ import annotations

import pytest

from protocols import plugins
from protocols.conformance import check_display
from protocols.errors import PluginError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Display, Flip
from protocols.settings import PluginChoice
from rig_client.display.headless import HeadlessDisplay

GROUP = "stimloop.displays"
OPTIONS = {"psychopy": {"full_screen": False, "check_refresh": False, "paced": False}}
NEEDS_A_SCREEN = {"psychopy"}
SESSION = SessionInfo(session_id="s", seed=0)


@pytest.mark.parametrize("name", plugins.names(GROUP))
def test_display_keeps_its_contract(name, images, request):
    if name in NEEDS_A_SCREEN:
        request.getfixturevalue("screen")
    display = plugins.create(GROUP, PluginChoice(name=name, options=OPTIONS.get(name, {})), SESSION)
    assert isinstance(display, Display)
    try:
        check_display(display, images)
    finally:
        display.close()


class Deaf(HeadlessDisplay):
    """Breaks the contract: never asks whether fixation is held."""

    def show(self, cue, on_s, at_onset, held=None):
        return super().show(cue, on_s, at_onset)


class Hasty(HeadlessDisplay):
    """Breaks the contract: the onset that it tells is not the one that it returns."""

    def show(self, cue, on_s, at_onset, held=lambda: True):
        flip = super().show(cue, on_s, at_onset, held)
        return Flip(flip.onset_s + 0.001, flip.dropped_frames, flip.held)


@pytest.mark.parametrize(("kind", "breach"), [(Deaf, "held"), (Hasty, "at_onset once")])
def test_a_breach_is_named(kind, breach, images):
    with pytest.raises(PluginError, match=breach):
        check_display(kind(HeadlessDisplay.Settings(), SESSION), images)
