"""Words as markers of the Lab Streaming Layer."""

from __future__ import annotations

from pydantic import Field

from protocols.interfaces import SessionInfo
from protocols.settings import Frozen
from protocols.vocabulary import Block, Cue
from rig_client.courier import attempted
from rig_client.installed import imported


class LslTriggerSettings(Frozen):
    """How the stream of markers presents itself.

    Attributes:
        stream: Its name; its type is `Markers`.
    """

    stream: str = Field(default="stimloop words", min_length=1, max_length=64)


class LslTrigger:
    """Pushes each word as one `int32` sample, stamped by LSL's clock at the flip."""

    Settings = LslTriggerSettings

    def __init__(self, settings: LslTriggerSettings, session: SessionInfo) -> None:
        pylsl = imported(
            "pylsl", needed_by="the LSL trigger", install="pip install 'stimloop[lsl]'"
        )
        info = pylsl.StreamInfo(
            settings.stream,
            "Markers",
            1,
            pylsl.IRREGULAR_RATE,
            pylsl.cf_int32,
            f"{settings.stream} {session.session_id}",
        )
        self._outlet = pylsl.StreamOutlet(info)
        self._sample = [0]
        self.trouble = ""

    def stage(self, block: Block) -> None:
        """Nothing to prepare."""

    def send(self, word: int, cue: Cue) -> None:  # noqa: ARG002
        """Push `word`; the network is LSL's own thread's business."""
        self._sample[0] = word
        self.trouble = attempted("LSL", self.trouble, self._outlet.push_sample, self._sample)

    def clear(self) -> None:
        """Markers have no end."""

    def close(self) -> None:
        """Take the stream off the network."""
        del self._outlet
