"""Where what is known of a stream begins: what was sent before a connection was made has not come."""

from __future__ import annotations

from rig_client.acquisition.gaps import Gap

FAR = 1 << 62
"""No recorder has so many samples."""


class Beginning:
    """Of the present connection, or of the recorder's present clock. Not thread-safe.

    Args:
        rate_hz: Samples in a second.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._fault, self._opened_s = "", 0.0

    def opened(self, now_s: float) -> None:
        """Connected just now."""
        self._fault, self._opened_s = "disconnected", now_s

    def restarted(self, fault: str) -> None:
        """The connection stands, the clock begins anew."""
        self._fault, self._opened_s = fault, float("inf")

    def heard(self, sample: int, now_s: float, wait_ticks: int) -> Gap | None:
        """A message of `sample`; if it is the first: all before that may not have come.

        Whatever came later than the connection is known, and the stream may be in disorder by the wait.
        A word that is missing later than that is missing for another reason.
        """
        if not self._fault:
            return None
        known, until_s = sample - 1, now_s
        if self._opened_s <= now_s:
            known += wait_ticks - int((now_s - self._opened_s) * self._rate_hz)
            until_s = self._opened_s
        fault, self._fault = self._fault, ""
        return Gap(fault, -FAR, known, until_s)
