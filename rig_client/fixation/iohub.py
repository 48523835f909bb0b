"""Eye trackers through PsychoPy's ioHub: SR Research, Tobii, Gazepoint, Pupil Labs, its mouse."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from protocols.errors import InstallationError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Display
from rig_client.fixation import hub
from rig_client.fixation.eyelink import DataFile, is_eyelink
from rig_client.fixation.settings import FixationWindowSettings
from rig_client.fixation.tracker import Gaze, point_deg, window_and_geometry
from rig_client.fixation.window import FixationWindow, memory_of

logger = logging.getLogger(__name__)

MONOCULAR, BINOCULAR = 51, 52
"""Types of ioHub's events that are samples."""
WITHOUT_TRACKER = "enable_interface_without_connection"
SET_UP = "set-up-done"


class Vendor(NamedTuple):
    """What ioHub needs for trackers of a company.

    Attributes:
        modules: To be importable.
        install: How to get them.
    """

    modules: tuple[str, ...]
    install: str


VENDORS = {
    "sr_research": Vendor(
        ("psychopy_eyetracker_sr_research", "pylink"),
        "pip install 'stimloop[eyelink]', which brings psychopy-eyetracker-sr-research and "
        "sr-research-pylink",
    ),
    "tobii": Vendor(("psychopy_eyetracker_tobii",), "pip install psychopy-eyetracker-tobii"),
    "gazepoint": Vendor(
        ("psychopy_eyetracker_gazepoint",), "pip install psychopy-eyetracker-gazepoint"
    ),
    "pupil_labs": Vendor(
        ("psychopy_eyetracker_pupil_labs",), "pip install psychopy-eyetracker-pupil-labs"
    ),
}
"""By the part of the device's name that names the company; none of them is in PsychoPy's core."""


class IoHubSettings(FixationWindowSettings):
    """The fixation window, and which eye tracker is behind it.

    Attributes:
        device: ioHub's class of the tracker.
        config: Its configuration, as in ioHub's YAML files.
        calibrate: Run the tracker's own set-up procedure before the first trial of a session: not
            again when the rig is restarted, and never for `doctor`.
    """

    device: str = Field(default="eyetracker.hw.mouse.EyeTracker", min_length=1)
    config: dict[str, Any] = Field(default_factory=dict)
    calibrate: bool = False

    @property
    def is_simulated(self) -> bool:
        """Whether no eye is tracked."""
        modes = ("simulation_mode", WITHOUT_TRACKER)
        return ".mouse." in self.device or any(self.config.get(mode) for mode in modes)


class IoHubEye:
    """A tracker in ioHub's process; its samples wait there until they are fetched, about 0.5 ms.

    Args:
        settings: Which tracker.
        folder: For what it leaves of this session; None: nothing is kept, and it is not set up.
        session_id: Names its files.
    """

    def __init__(
        self, settings: IoHubSettings, folder: Path | None = None, session_id: str = ""
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._session_id = session_id
        self._hub: Any = None
        self._tracker: Any = None
        self._data_file: DataFile | None = None
        self._latest: Gaze | None = None

    def open_on(self, display: Display) -> None:
        """Start ioHub, set the tracker up if that is due, and record; takes some seconds.

        Raises:
            DisplayError: If the display has no window.
            InstallationError: If a package is missing.
            RigError: If ioHub or the tracker does not start.
        """
        device = self._settings.device
        self._window, self._geometry = window_and_geometry(display, "ioHub")
        self._display = display
        check_installed(device)
        config = {"name": "tracker", "event_buffer_length": hub.EVENT_BUFFER}
        folder = self._folder or Path(hub.temporary_folder())
        folder.mkdir(parents=True, exist_ok=True)
        if is_eyelink(device) and not self._settings.config.get(WITHOUT_TRACKER):
            self._data_file = DataFile(folder, self._session_id, kept=self._folder is not None)
            config["default_native_data_file_name"] = self._data_file.host_name
        config |= self._settings.config
        self._hub, self._tracker = hub.launch(self._window, device, config, folder)
        try:
            if is_eyelink(device):
                hub.check_connected(self._tracker, device, config)
            self._set_up()
            self._tracker.setRecordingState(True)
            self.note(f"STIMLOOP session {self._session_id}")
        except BaseException:
            self.close()
            raise

    def samples(self) -> Sequence[Gaze]:
        """All since this was last asked, their times on the display's clock."""
        if self._tracker is None:
            return ()
        offset_s = self._display.now_s() - self._hub.getTime()
        found = [
            self._gaze_of(event, offset_s)
            for event in self._tracker.getEvents() or ()
            if event.type in (MONOCULAR, BINOCULAR)
        ]
        if found:
            self._latest = found[-1]
        return found

    def gaze_deg(self) -> Gaze | None:
        """The last one that `samples` has fetched."""
        return self._latest

    def note(self, text: str) -> None:
        """A message in the tracker's own file, at this moment; trackers without one ignore it."""
        if self._tracker is not None and self._data_file is not None:
            self._tracker.sendMessage(text)

    def close(self) -> None:
        """Fetch the tracker's file, and end ioHub's process."""
        running, self._hub = self._hub, None
        tracker, self._tracker = self._tracker, None
        if running is None:
            return
        try:
            if self._data_file is not None and tracker is not None:
                self._data_file.fetch(tracker)
        finally:
            hub.end(running)

    def _set_up(self) -> None:
        """The tracker's own procedure, once a session."""
        if not self._settings.calibrate or self._folder is None:
            return
        done = self._folder / SET_UP
        if done.exists():
            logger.warning(
                "the eye tracker was set up in this session already; K calibrates within a pause, "
                "and without the file %s it is set up at the next start",
                done,
            )
            return
        hub.set_up(self._tracker, self._settings.device)
        done.touch()

    def _gaze_of(self, event: Any, offset_s: float) -> Gaze:
        place = position_of(event)
        time_s = float(event.time) + offset_s
        if place is None:
            return Gaze(0, 0, time_s, is_valid=False)
        x_deg, y_deg = point_deg(self._geometry, self._window, *place)
        return Gaze(x_deg, y_deg, time_s)


def position_of(event: Any) -> tuple[float, float] | None:
    """Window pixels of a sample of ioHub, from the centre, y up; None if no eye was seen.

    A status has a digit for each eye, left then right (of one eye: right): 2 is missing. With two
    eyes, the mean of those that were seen.
    """
    missing_left, missing_right = divmod(int(event.status), 10)
    if event.type == MONOCULAR:
        seen = [] if event.status else [(event.gaze_x, event.gaze_y)]
    else:
        seen = [] if missing_left else [(event.left_gaze_x, event.left_gaze_y)]
        seen += [] if missing_right else [(event.right_gaze_x, event.right_gaze_y)]
    if not seen:
        return None
    x, y = (sum(float(place[axis]) for place in seen) / len(seen) for axis in (0, 1))
    return x, y


def check_installed(device: str) -> None:
    """What ioHub needs for a tracker is there.

    Raises:
        InstallationError: If not; names the packages.
    """
    for company, vendor in VENDORS.items():
        missing = [name for name in vendor.modules if find_spec(name) is None]
        if f".{company}." in device and missing:
            raise InstallationError(
                "the eye tracker needs packages that are not installed",
                where=f"fixation option device: {device}",
                expected=", ".join(vendor.modules),
                got=f"no {', '.join(missing)}",
                remedy=vendor.install,
            )


class IoHubFixation(FixationWindow):
    """The fixation window on a tracker of ioHub."""

    Settings = IoHubSettings

    def __init__(self, settings: IoHubSettings, session: SessionInfo) -> None:
        folder = memory_of(settings, session)
        super().__init__(settings, IoHubEye(settings, folder, session.session_id), folder)
        self.is_simulated = settings.is_simulated
