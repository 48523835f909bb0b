"""When things happen within a trial, and which span of spikes around an onset is kept."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from protocols.settings import Frozen


def _as_range(value: Any) -> Any:
    """One number stands for a range without width."""
    return (value, value) if isinstance(value, int | float) else value


Ms = Annotated[float, Field(ge=0, le=600_000)]


class Timing(Frozen):
    """When things happen within a trial; count and kept times are relative to image onset.

    Attributes:
        on_ms: Image duration.
        off_ms: Gap after each image.
        count_start_ms: Beginning of the count window `[start, stop)`.
        count_stop_ms: Its end. Fixation must hold to the last window's end of a trial.
        keep_start_ms: Beginning of the span whose spike times are kept, beside the count window.
        keep_stop_ms: Its end. A trial lasts until the last image's span is over.
        presentations_per_trial: RSVP if above 1.
        inter_trial_ms: `[low, high]`, or one number: pause after a trial's last count window, drawn
            evenly for each trial from a stream that its first cue names.
        timeout_ms: Pause after a trial in which fixation was broken, besides.
        max_attempts: Showings of one repetition before it is given up; what was never on the screen
            uses none.
        require_times: Whether a recorder that gives no spike times is refused.
    """

    on_ms: float = Field(default=100, gt=0, le=60_000, description="image duration")
    off_ms: float = Field(default=100, ge=0, le=60_000, description="gap after each image")
    count_start_ms: float = Field(default=70, ge=-10_000, le=60_000)
    count_stop_ms: float = Field(default=170, ge=-10_000, le=60_000)
    keep_start_ms: float = Field(default=-100, ge=-10_000, le=60_000)
    keep_stop_ms: float = Field(default=300, ge=-10_000, le=60_000)
    presentations_per_trial: int = Field(default=1, ge=1, le=1000, description="RSVP if above 1")
    inter_trial_ms: Annotated[tuple[Ms, Ms], BeforeValidator(_as_range)] = (0.0, 0.0)
    timeout_ms: float = Field(default=0, ge=0, le=600_000, description="after a broken trial")
    max_attempts: int = Field(
        default=5, ge=1, le=1000, description="showings of one repetition before it is given up"
    )
    require_times: bool = False

    @model_validator(mode="after")
    def _spans_are_not_empty(self) -> Self:
        if self.count_stop_ms <= self.count_start_ms:
            raise ValueError("count_stop_ms must be after count_start_ms: [start, stop) is empty")
        if self.keep_stop_ms <= self.keep_start_ms:
            raise ValueError("keep_stop_ms must be after keep_start_ms: [start, stop) is empty")
        if self.inter_trial_ms[1] < self.inter_trial_ms[0]:
            raise ValueError("inter_trial_ms is [low, high]: high must not be below low")
        return self

    @property
    def count_window_s(self) -> tuple[float, float]:
        """Half-open `[start, stop)` after onset, in seconds."""
        return self.count_start_ms / 1000, self.count_stop_ms / 1000

    @property
    def kept_span_s(self) -> tuple[float, float]:
        """Half-open `[start, stop)` around onset, in seconds; it always covers the count window."""
        start = min(self.keep_start_ms, self.count_start_ms)
        return start / 1000, max(self.keep_stop_ms, self.count_stop_ms) / 1000
