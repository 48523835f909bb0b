"""The presenter: shows a block trial by trial and counts. No network here, and no waiting for it.

A trial, as an animal has it: the spot appears, fixation is waited for, images are shown one after the
other, fixation must hold until the last count window is over, then comes the reward. A trial whose
fixation is never reached (a miss) shows nothing, and so uses nothing of the session up. After some
misses in a row the subject rests: the spot goes, and there is a try now and then.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from protocols.rig_interfaces import (
    GazeTracing,
    InterruptibleFixation,
    NotingAcquisition,
    RevisingAcquisition,
    always,
)
from protocols.seeds import random_stream
from protocols.vocabulary import Block, BlockResponses, Cue, Outcome, Presentation, RigEvent
from rig_client.apparatus import Apparatus
from rig_client.measuring import EDGE_S, Counter
from rig_client.presented import responses_of
from rig_client.showing import Marked, Showing, Watch
from rig_client.spool import Journal
from rig_client.trial_record import GazePart, TrialRecord
from rig_client.trial_settings import TrialSettings

logger = logging.getLogger(__name__)

GLANCE_S = 0.2
"""How often the keyboard and the server are heeded while the rig rests."""
DEFAULT_FRAME_MS = 1000 / 60
"""Of a display that does not know its own."""


@dataclass
class Progress:
    """How far a block has come."""

    records: list[TrialRecord]
    pending: deque[Cue]

    @property
    def n_trials(self) -> int:
        """Trials so far."""
        return len(self.records)

    def cues(self, block: Block) -> list[Cue]:
        """The images of the next trial."""
        size = min(block.timing.presentations_per_trial, len(self.pending))
        return [
            self.pending[place].model_copy(update={"trial": self.n_trials}) for place in range(size)
        ]

    def add(self, record: TrialRecord, cues: Sequence[Cue], max_attempts: int) -> None:
        """A trial is over: what was never on the screen stays where it was; what failed goes last."""
        self.records.append(record)
        for _ in record.presentations:
            self.pending.popleft()
        for cue, shown in zip(cues, record.presentations, strict=False):
            if shown.outcome is not Outcome.COMPLETED:
                self._again(cue, max_attempts)

    def withdraw(self, cues: Sequence[Cue], max_attempts: int) -> tuple[int, ...]:
        """These lost a spike: they are shown again. Returns their places among the presentations."""
        shown = [each for record in self.records for each in record.presentations]
        places = []
        for cue in cues:
            place = _place_of(cue, shown)
            if place is not None and shown[place].outcome is Outcome.COMPLETED:
                places.append(place)
                self._again(cue, max_attempts)
        return tuple(places)

    def note_late(self, places: Sequence[int], block: Block) -> None:
        """As `withdraw`, from a journal."""
        shown = [each for record in self.records for each in record.presentations]
        index = {name: place for place, name in reversed(list(enumerate(block.stimulus_ids)))}
        for place in places:
            cue = _cue_of(shown[place], block.index, index)
            self._again(cue, block.timing.max_attempts)

    def _again(self, cue: Cue, max_attempts: int) -> None:
        if cue.attempt + 1 < max_attempts:
            self.pending.append(cue.model_copy(update={"attempt": cue.attempt + 1}))


class Presenter:
    """Presents blocks on one display, to one subject, in front of one recorder.

    Args:
        apparatus: All of that.
        settings: What happens when the subject does not work.
        word_bits: Lines that carry the trial word: words run from 1 to 2^word_bits − 1.
        seed: The session's: pauses between trials are drawn from it.
        say: Told why nothing is shown; empty: all is well.
        is_interrupted: Asked while fixation is waited for: does what was asked for at the rig, and is
            True if the wait must end for it, as for a pause.
        before_ml: What the subject has drunk in this session before.
        keep_ml: Told what it has drunk by now.
    """

    def __init__(
        self,
        apparatus: Apparatus,
        settings: TrialSettings | None = None,
        word_bits: int = 8,
        seed: int = 0,
        say: Callable[[str], None] = lambda _text: None,
        is_interrupted: Callable[[], bool] = lambda: False,
        before_ml: float = 0.0,
        keep_ml: Callable[[float], None] = lambda _ml: None,
    ) -> None:
        self._parts = apparatus
        self._display = apparatus.display
        self._settings = settings or TrialSettings()
        self._seed, self._say, self._is_interrupted = seed, say, is_interrupted
        self._marked = Marked(apparatus, word_bits)
        self._counter = Counter(apparatus)
        self._frame_s = (self._display.describe().frame_ms or DEFAULT_FRAME_MS) / 1000
        recorder, fixation = apparatus.acquisition, apparatus.fixation
        self._revising = recorder if isinstance(recorder, RevisingAcquisition) else None
        self._noting = recorder if isinstance(recorder, NotingAcquisition) else None
        self._tracing = fixation if isinstance(fixation, GazeTracing) else None
        self._before_ml = self._kept_ml = before_ml
        self._keep_ml = keep_ml
        if isinstance(fixation, InterruptibleFixation):
            fixation.heed_while_waiting(is_interrupted)
        self._misses = 0
        self._events: list[RigEvent] = []

    @property
    def given_ml(self) -> float:
        """What the subject has drunk in this session."""
        return self._before_ml + self._parts.reward.given_ml

    def tell(self, kind: str, text: str = "", *, trial: int | None = None, ms: float = 0) -> None:
        """Something happened at the rig; it goes into the next trial's record."""
        event = RigEvent(
            kind=kind,
            at_s=self._display.now_s(),
            trial=trial,
            ms=ms,
            ml=self.given_ml,
            text=text,
        )
        self._events.append(event)
        if event.ml != self._kept_ml:
            self._kept_ml = event.ml
            self._keep_ml(event.ml)

    def present(self, block: Block, journal: Journal, stop: Callable[[], bool]) -> BlockResponses:
        """Show `block`, from where its journal ends; what failed is shown again at the end.

        Args:
            block: What to show.
            journal: Its trials so far; new ones are added.
            stop: Asked between trials and tries, may wait; True leaves the rest of the block unshown.

        Returns:
            Everything that happened, in order: the journal's trials and the new ones.
        """
        self._marked.stage(block)
        done = Progress([], deque(block.cues()))
        for record in journal.records:
            done.add(record, done.cues(block), block.timing.max_attempts)
            done.note_late(record.late, block)
        while not stop():
            self._look_back(done, block, journal)
            if not done.pending:
                break
            cues = done.cues(block)
            if not self._fixated(cues[0], stop):
                break
            record = self._trial(cues, block)
            journal.add(record)
            done.add(record, cues, block.timing.max_attempts)
        return self._responses(block, done.records)

    # --- before a trial -----------------------------------------------------------------------

    def _fixated(self, cue: Cue, stop: Callable[[], bool]) -> bool:
        """Wait until fixation is acquired, through misses and rests; False if told to stop."""
        while True:
            self._display.spot(True)
            if self._parts.fixation.acquire(cue):
                self._awake()
                return True
            if self._is_interrupted():
                if stop():
                    return False
                continue  # nobody has missed anything
            self._misses += 1
            self.tell("miss", trial=cue.trial)
            if stop() or (self._is_resting() and not self._rest(stop)):
                return False

    def _is_resting(self) -> bool:
        return self._misses >= self._settings.rest_after_misses

    def _rest(self, stop: Callable[[], bool]) -> bool:
        """The subject does not work: the spot goes, until the next try; False if told to stop."""
        rest_s = self._settings.rest_s
        if self._misses == self._settings.rest_after_misses:
            self.tell("rest", f"{self._misses} misses in a row")
        n_misses = self._settings.rest_after_misses
        self._say(f"resting: {n_misses} tries in a row without fixation; a try every {rest_s:g} s")
        self._display.spot(False)
        until_s = self._display.now_s() + rest_s
        while until_s - self._display.now_s() > EDGE_S:
            if stop():
                return False
            self._wait_until(min(until_s, self._display.now_s() + GLANCE_S))
        return True

    def _awake(self) -> None:
        if self._is_resting():
            self.tell("rest_over")
            self._say("")
        self._misses = 0

    # --- a trial ------------------------------------------------------------------------------

    def _trial(self, cues: Sequence[Cue], block: Block) -> TrialRecord:
        """Images on and off; fixation to the last window's end; reward; counts; pause."""
        timing = block.timing
        watch = Watch(self._display.now_s, self._parts.fixation.held)
        shown = self._show(cues, block, watch)
        over_s = self._display.now_s()
        if not watch.is_broken and self._parts.reward.give(cues[0].trial):
            self.tell("reward", trial=cues[0].trial, ms=self._parts.reward.pulse_ms)
        if self._settings.spot_off_between_trials:
            self._display.spot(False)
        kept_until_s = shown[-1].flip.onset_s + timing.kept_span_s[1]
        self._wait_until(kept_until_s)
        counted = [self._counter.counted(one, timing, watch.held_until_s) for one in shown]
        self._pause(cues[0], block, over_s, broken=watch.is_broken)
        return self._record(
            tuple(presentation for presentation, _ in counted),
            {digest: times for _, arrays in counted for digest, times in arrays.items()},
        )

    def _show(self, cues: Sequence[Cue], block: Block, watch: Watch) -> list[Showing]:
        """The images until fixation breaks, and the rest of the last count window."""
        timing, shown = block.timing, list[Showing]()
        for cue in cues:
            held = watch.of(cue)
            shown.append(self._marked.show(cue, timing.on_ms / 1000, held))
            if watch.is_broken or not self._display.blank(timing.off_ms / 1000, held):
                break
        over_s = shown[-1].flip.onset_s + timing.count_window_s[1]
        if not watch.is_broken:
            self._wait_until(over_s, watch.of(shown[-1].cue))
        self._wait_until(over_s)  # what a broken image drew must not be counted for the next trial
        return shown

    def _wait_until(self, until_s: float, held: Callable[[], bool] = always) -> None:
        """Gray until `until_s` on the display's clock, and never shorter; ends when `held` does.

        A display rounds to whole frames, so what is left of a frame is waited for as a frame.
        """
        while (left_s := until_s - self._display.now_s()) > EDGE_S:
            if not self._display.blank(max(left_s, self._frame_s), held):
                return
        held()

    def _pause(self, cue: Cue, block: Block, over_s: float, *, broken: bool) -> None:
        """Between two trials; counted from the end of the last count window."""
        low_ms, high_ms = block.timing.inter_trial_ms
        pause_ms = low_ms
        if high_ms > low_ms:
            random = random_stream(self._seed, "inter-trial pause", *cue.seed_path)
            pause_ms = float(random.uniform(low_ms, high_ms))
        if broken:
            pause_ms += block.timing.timeout_ms
        self._wait_until(over_s + pause_ms / 1000)

    # --- what is kept -------------------------------------------------------------------------

    def _record(
        self,
        presentations: tuple[Presentation, ...] = (),
        arrays: dict[str, NDArray[Any]] | None = None,
        late: tuple[int, ...] = (),
    ) -> TrialRecord:
        """A record with all that happened since the one before."""
        self._note_recorder()
        events, self._events = tuple(self._events), []
        gaze = None
        if (traced := self._tracing) is not None:
            samples = traced.gaze_since()
            gaze = GazePart(traced.gaze_start_s, traced.gaze_hz, samples)
        return TrialRecord(presentations, events, arrays or {}, gaze, late)

    def _note_recorder(self) -> None:
        for note in self._noting.notes() if self._noting is not None else ():
            logger.warning("%s", note)
            self.tell("recorder_warning", note)

    def _look_back(self, done: Progress, block: Block, journal: Journal) -> None:
        """Counts that turned out to lack a spike are withdrawn, and their images shown again."""
        if self._revising is None or not (late := self._revising.late()):
            return
        here = [cue for cue in late if cue.block_index == block.index]
        places = done.withdraw(here, block.timing.max_attempts)
        for cue in late:
            text = f"a spike came after the count: {cue.in_words}"
            self.tell("late_spikes", text, trial=cue.trial)
        if places:
            record = self._record(late=places)
            journal.add(record)
            done.records.append(record)

    def _responses(self, block: Block, records: Sequence[TrialRecord]) -> BlockResponses:
        """Everything of the block."""
        last = self._record()
        if last.events or (last.gaze is not None and len(last.gaze.samples)):
            records = [*records, last]
        return responses_of(
            records,
            block_index=block.index,
            site_ids=self._parts.acquisition.site_ids,
            tick_hz=self._parts.acquisition.tick_hz,
            clock=self._counter.clock(),
        )


def _place_of(cue: Cue, shown: Sequence[Presentation]) -> int | None:
    key = (cue.stimulus_id, cue.repetition, cue.attempt)
    found = (
        place
        for place, one in enumerate(shown)
        if (one.stimulus_id, one.repetition, one.attempt) == key
    )
    return next(found, None)


def _cue_of(shown: Presentation, block_index: int, index: dict[str, int]) -> Cue:
    return Cue(
        block_index=block_index,
        stimulus_index=index[shown.stimulus_id],
        stimulus_id=shown.stimulus_id,
        repetition=shown.repetition,
        attempt=shown.attempt,
        trial=shown.trial,
    )
