"""Everything stimloop raises on purpose.

    StimloopError
    ├── SettingsError             a settings file or option is wrong
    ├── InstallationError         a package is missing, or collides with another distribution
    ├── PluginError               an entry point is unknown, broken or breaks its contract
    ├── DataError                 an array, image or recording has the wrong shape, type or values
    ├── ResponsesRefused          responses that do not fit the block that they answer
    ├── WireError                 the link between server and rig
    │   ├── MalformedMessage      bytes that are no message of this protocol
    │   ├── Refusal               the peer refused a request and said why
    │   └── LinkLost              the peer does not answer
    ├── SecurityError             keys missing, unsafe or not accepted
    ├── LogError                  the session log
    │   ├── LogCorrupted          a logged event or array was altered
    │   └── ReplayMismatch        the plan proposed something else than what was logged
    └── RigError                  display, recorder or spool
        ├── DisplayError
        ├── RigStopped            the experimenter quit at the keyboard, or closed the window
        ├── RecorderGap           the recorder cannot account for a presentation: shown again, never guessed
        └── SpoolError

Every error says what is wrong, where, what was expected, what was found and what to do about it.
"""

from __future__ import annotations

from typing import Self


class StimloopError(Exception):
    """Base of all errors raised on purpose.

    Args:
        what: One sentence that says what is wrong.
        where: File, option, message or array concerned.
        expected: What would have been right.
        got: What was found instead.
        remedy: What the user can do now.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        expected: object = "",
        got: object = "",
        remedy: str = "",
    ) -> None:
        self.what = what
        self.where = where
        self.expected = str(expected)
        self.got = str(got)
        self.remedy = remedy
        super().__init__(self._text())

    def _text(self) -> str:
        details = (
            ("where", self.where),
            ("expected", self.expected),
            ("got", self.got),
            ("what to do", self.remedy),
        )
        return "\n".join([self.what, *(f"  {name}: {text}" for name, text in details if text)])


class SettingsError(StimloopError):
    """A settings file or a command-line option is wrong."""


class InstallationError(StimloopError):
    """A package is missing, or another distribution owns one of our package names."""


class PluginError(StimloopError):
    """An entry point is unknown, cannot be loaded, or breaks its contract."""


class DataError(StimloopError, ValueError):
    """An array, image or recording has the wrong shape, type or values."""


class ResponsesRefused(StimloopError):
    """Responses that do not fit the block that they answer."""


class WireError(StimloopError):
    """The link between server and rig."""


class MalformedMessage(WireError):
    """Bytes that are no message of this protocol."""


class Refusal(WireError):
    """The peer refused a request.

    Args:
        reason: One of the words of `docs/reference/wire.md`, for programs.
        what: The peer's sentence, for people.
    """

    def __init__(
        self, reason: str, what: str, *, expected: object = "", got: object = "", remedy: str = ""
    ) -> None:
        self.reason = reason
        super().__init__(
            what, where=f"refused: {reason}", expected=expected, got=got, remedy=remedy
        )

    @classmethod
    def of(cls, reason: str, error: StimloopError, *, got: object = None) -> Self:
        """The refusal of a request that led to `error`, in its words; `got` may say more."""
        return cls(
            reason,
            error.what,
            expected=error.expected,
            got=error.got if got is None else got,
            remedy=error.remedy,
        )


class LinkLost(WireError):
    """The peer does not answer."""


class SecurityError(StimloopError):
    """Keys are missing, readable by others, or not accepted by the peer."""


class LogError(StimloopError):
    """The session log cannot be read or written."""


class LogCorrupted(LogError):
    """A logged event or array was altered after it was written."""


class ReplayMismatch(LogError):
    """Driven by the logged responses, the plan proposed something else than what was logged."""


class RigError(StimloopError):
    """Display, recorder or spool."""


class DisplayError(RigError):
    """An image could not be shown as asked."""


class RigStopped(RigError):
    """The experimenter quit at the rig; started again, it goes on within the block."""


class RecorderGap(RigError):
    """The recorder cannot account for a presentation; it is shown again, never guessed.

    Args:
        what: One sentence that says what is missing.
        fault: Its name, for the log: `missing_word`, `message_gap`, `silent_stream` ….
        details: As for every error.
    """

    def __init__(self, what: str, *, fault: str = "recorder_gap", **details: str) -> None:
        self.fault = fault
        super().__init__(what, **details)


class SpoolError(RigError):
    """Responses could not be written to, or read back from, the rig's disk."""
