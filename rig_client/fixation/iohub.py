"""Eye trackers through PsychoPy's ioHub: SR Research, Tobii, Gazepoint, Pupil Labs, its mouse."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from protocols.errors import RigError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Display
from rig_client.fixation.settings import FixationWindowSettings
from rig_client.fixation.tracker import Gaze, point_deg, window_and_geometry
from rig_client.fixation.window import FixationWindow
from rig_client.installed import imported

TIME = 7
"""Place of the time, on ioHub's clock, in every event of ioHub."""


class IoHubSettings(FixationWindowSettings):
    """The fixation window, and which eye tracker is behind it.

    Attributes:
        device: ioHub's class of the tracker.
        config: Its configuration, as in ioHub's YAML files.
        calibrate: Run the tracker's own set-up procedure before the first trial.
    """

    device: str = Field(default="eyetracker.hw.mouse.EyeTracker", min_length=1)
    config: dict[str, Any] = Field(default_factory=dict)
    calibrate: bool = False


class IoHubEye:
    """A tracker in ioHub's process; asking it for the latest gaze takes about 0.5 ms."""

    def __init__(self, settings: IoHubSettings) -> None:
        self._settings = settings
        self._hub: Any = None
        self._tracker: Any = None

    def open_on(self, display: Display) -> None:
        """Start ioHub, and the tracker's recording; takes some seconds.

        Raises:
            DisplayError: If the display has no window.
            RigError: If ioHub or the tracker does not start.
        """
        self._window, self._geometry = window_and_geometry(display, "ioHub")
        iohub = imported("psychopy.iohub", needed_by="ioHub", install="pip install 'stimloop[rig]'")
        device = {self._settings.device: {"name": "tracker", **self._settings.config}}
        try:
            self._hub = iohub.launchHubServer(window=self._window, **device)
            self._tracker = self._hub.getDevice(device[self._settings.device]["name"])
            if self._tracker is None:
                raise RuntimeError("ioHub started without it")
            if self._settings.calibrate:
                self._tracker.runSetupProcedure()
            self._tracker.setRecordingState(True)
        except Exception as error:  # ioHub raises many kinds
            self.close()
            raise RigError(
                "the eye tracker cannot be started through ioHub",
                where=self._settings.device,
                got=f"{type(error).__name__}: {error}",
                remedy="compare fixation.options.config with ioHub's documentation of the tracker",
            ) from error

    def gaze_deg(self) -> Gaze | None:
        """The latest sample; invalid where the tracker has no position."""
        sample = None if self._tracker is None else self._tracker.getLastSample()
        if not sample:
            return None
        position = self._tracker.getLastGazePosition()
        if not position:
            return Gaze(0, 0, sample[TIME], is_valid=False)
        x_deg, y_deg = point_deg(self._geometry, self._window, *map(float, position))
        return Gaze(x_deg, y_deg, sample[TIME])

    def close(self) -> None:
        """End ioHub's process."""
        hub, self._hub, self._tracker = self._hub, None, None
        if hub is not None:
            hub.quit()


class IoHubFixation(FixationWindow):
    """The fixation window on a tracker of ioHub."""

    Settings = IoHubSettings

    def __init__(self, settings: IoHubSettings, session: SessionInfo) -> None:  # noqa: ARG002
        super().__init__(settings, IoHubEye(settings))
