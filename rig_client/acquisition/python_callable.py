"""A laboratory's own function, or class of functions, that can be asked for counts around a moment.

A function that raises is an SDK that is lost: the rig waits, as for a stream that is lost, and the SDK
is tried again by itself, see `PythonCallable`. docs/how-to/record-with-a-vendors-sdk.md has examples.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import Field

from protocols.errors import RecorderGap, RigError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Measurement
from protocols.settings import Frozen
from protocols.vocabulary import Block, Cue
from rig_client.acquisition.python_source import PLACE, named_object

logger = logging.getLogger(__name__)

PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""After a failure, an SDK is tried again after the first; each time in vain doubles it."""
JOIN_S = 5.0


class PythonCallableSettings(Frozen):
    """Which function, and what it counts.

    Attributes:
        function: `module:name` of a function, called with `(word, onset_s, start_s, stop_s)`; or of
            a class whose instances are such functions, made with `options`.
        options: If given, `function` is a class (or makes the function), called with these first.
        sites: What its counts are of, in their order.
    """

    function: str = PLACE
    options: dict[str, Any] | None = None
    sites: tuple[str, ...] = Field(min_length=1)


class PythonCallable:
    """Asks a function for the counts of each presentation, once its trial is over.

    `function(word, onset_s, start_s, stop_s)` returns one count a site, for the half-open window
    from `start_s` to `stop_s` after the onset; or None if it cannot know, and the image is shown
    again. `onset_s` is on the rig's clock, `time.perf_counter`; `word` was sent at that moment. A
    method `mark(word, onset_s)` is called at the flip, if there is one, and must return at once.

    If it raises, `trouble` says so and the rig waits. A function is asked again for the same
    presentation until it answers; a class is made anew, until that works and its own `trouble()`, if
    it has one, is empty: its `trouble()` should ask the SDK something, so that nothing is shown in vain.
    """

    Settings = PythonCallableSettings

    def __init__(self, settings: PythonCallableSettings, session: SessionInfo) -> None:  # noqa: ARG002
        self._settings = settings
        self._make = named_object(settings.function)
        try:
            self._ask = self._made()
        except Exception as error:
            raise RigError(
                "the lab's recorder cannot be made",
                where=settings.function,
                got=_told(error),
                remedy="check its options, and the vendor's software",
            ) from error
        self._marked: dict[Cue, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._why, self._n_failures, self._has_counted = "", 0, False
        self._closing = threading.Event()
        self._reviver: threading.Thread | None = None

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Those of the settings."""
        return self._settings.sites

    def stage(self, block: Block) -> None:  # noqa: ARG002
        """Forget the block before."""
        self._marked.clear()

    def mark(self, cue: Cue, onset_s: float, word: int) -> None:
        """Remember when, and tell the function if it wants to know."""
        self._marked[cue] = word, onset_s
        mark = getattr(self._ask, "mark", None)
        if mark is not None:
            try:
                mark(word, onset_s)
            except Exception as error:
                del self._marked[cue]
                self._has_failed(error, None)

    @property
    def tick_hz(self) -> float:
        """0: it only counts."""
        return 0.0

    def spike_counts(
        self,
        cue: Cue,
        window_s: tuple[float, float],
        kept_s: tuple[float, float] | None = None,  # noqa: ARG002
    ) -> Measurement:
        """What the function says, `(n_sites,)`.

        Raises:
            RecorderGap: If it says None, or raises, or no longer says one count a site; then `trouble`
                says so until it works again.
            RigError: If what it says first is anything but one count a site.
        """
        if cue not in self._marked:
            raise self._gap("function_failed", "the lab's recorder has failed", self._why)
        word, onset_s = self._marked[cue]

        def ask() -> Any:
            return self._ask(word, onset_s, *window_s)

        try:
            with self._lock:
                said = ask()
        except Exception as error:
            self._has_failed(error, ask)
            why = "the lab's recorder has failed"
            raise self._gap("function_failed", why, _told(error)) from error
        if said is None:
            what = "the lab's recorder cannot account for this presentation"
            raise self._gap("function_says_none", what, f"None about word {word}")
        try:
            return Measurement(self._checked(said))
        except RigError as error:
            if not self._has_counted:
                raise
            self._has_failed(error, ask)
            expected = f"{len(self.site_ids)} numbers, none negative"
            raise self._gap("function_failed", error.what, f"{said!r:.80}", expected) from error

    def trouble(self) -> str:
        """That it has failed, and is tried again; else what its own `trouble()` says, if it has one."""
        if self._why:
            return f"{self._settings.function} has failed, and is tried again: {self._why}"
        return self._own_trouble()

    def close(self) -> None:
        """Call its `close()`, if it has one."""
        self._closing.set()
        if self._reviver is not None:
            self._reviver.join(JOIN_S)
        self._release()

    # --- a function that fails -----------------------------------------------------------------

    def _made(self) -> Any:
        options = self._settings.options
        return self._make if options is None else self._make(**options)

    def _has_failed(self, error: Exception, ask: Callable[[], Any] | None) -> None:
        self._n_failures += 1
        self._why = _told(error)
        if self._reviver is None or not self._reviver.is_alive():
            logger.warning("%s has failed: %s", self._settings.function, self._why)
            revive = threading.Thread(target=self._revive, args=(ask,), daemon=True)
            self._reviver = revive
            revive.start()

    def _revive(self, ask: Callable[[], Any] | None) -> None:
        """Until it works: each time in vain, and each failure soon after, lengthens the pause."""
        n_pauses = self._n_failures - 1
        while not self._closing.wait(min(PAUSE_S * 2.0**n_pauses, LONGEST_PAUSE_S)):
            n_pauses += 1
            try:
                with self._lock:
                    self._work_again(ask)
            except Exception as error:
                self._why = _told(error)
                continue
            logger.warning("%s works again", self._settings.function)
            self._why = ""
            return

    def _work_again(self, ask: Callable[[], Any] | None) -> None:
        if self._settings.options is not None:
            self._release()
            self._ask = self._made()
            if trouble := self._own_trouble():
                raise RuntimeError(trouble)
        elif ask is not None:
            ask()

    def _own_trouble(self) -> str:
        ask = getattr(self._ask, "trouble", None)
        try:
            return str(ask()) if callable(ask) else ""
        except Exception as error:
            return f"{self._settings.function} does not answer: {_told(error)}"

    def _release(self) -> None:
        close = getattr(self._ask, "close", None)
        try:
            if callable(close):
                close()
        except Exception:
            logger.exception("%s could not be closed", self._settings.function)

    # --- what it says --------------------------------------------------------------------------

    def _checked(self, said: Any) -> Any:
        try:
            counts = np.asarray(said, np.float64)
        except (TypeError, ValueError):  # ragged, or no numbers
            counts = np.zeros(0)
        if counts.shape != (len(self.site_ids),) or not (np.isfinite(counts) & (counts >= 0)).all():
            raise RigError(
                "the lab's recorder gave no counts",
                where=self._settings.function,
                expected=f"{len(self.site_ids)} numbers, none negative",
                got=f"{said!r:.80}",
            )
        self._n_failures, self._has_counted = 0, True
        return counts

    def _gap(self, fault: str, what: str, got: str, expected: str = "") -> RecorderGap:
        where = self._settings.function
        return RecorderGap(what, fault=fault, where=where, expected=expected, got=got)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
