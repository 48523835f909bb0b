"""Counting frames, with a clock that is told what to show."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.errors import DisplayError
from rig_client.display.frames import Frames, check_refresh


class Screen:
    """Its flips take the frames that it is told; others take one."""

    def __init__(self, refresh_hz=100.0, late=None):
        self.frame_s = 1 / refresh_hz
        self.late = dict(late or {})
        self.n_flips = 0
        self.now_s = 0.0
        self.waited_s = []

    def flip(self):
        self.now_s += self.frame_s * self.late.get(self.n_flips, 1.0)
        self.n_flips += 1

    def clock(self):
        return self.now_s

    def wait(self, seconds):
        self.waited_s.append(seconds)
        self.now_s += seconds

    def frames(self, **options):
        return Frames(self.flip, 1 / self.frame_s, clock=self.clock, wait=self.wait, **options)


@pytest.mark.parametrize(
    ("took", "missed"), [(1.0, 0), (1.49, 0), (1.51, 1), (2.0, 1), (2.4, 1), (3.0, 2), (7.0, 6)]
)
def test_a_flip_later_than_one_and_a_half_frames_has_missed_some(took, missed):
    frames = Screen(late={1: took}).frames()
    assert [frames.next() for _ in range(4)] == [0, missed, 0, 0]


def test_a_first_flip_is_late_for_nothing():
    """The gap before an image may be longer; the image is not."""
    screen = Screen(late={0: 9.0, 1: 1.0})
    frames = screen.frames()
    assert frames.first(screen.clock) == pytest.approx(0.09)
    assert frames.next() == 0


def test_the_time_of_the_first_flip_is_what_its_callback_saw():
    screen = Screen()
    frames = screen.frames()
    assert frames.first(lambda: screen.now_s - 0.001) == pytest.approx(0.009)
    assert frames.last_s == pytest.approx(0.009)


def test_without_frames_of_its_own_nothing_is_missed():
    frames = Screen(late={0: 5, 1: 50}).frames(real=False)
    assert [frames.next() for _ in range(3)] == [0, 0, 0]


def test_paced_flips_wait_for_their_time_and_a_late_one_delays_no_other():
    """Flips of 2 ms, the third of 4 ms, the fourth of 13 ms: a frame is missed."""
    screen = Screen(refresh_hz=100, late={0: 0.2, 1: 0.2, 2: 0.4, 3: 1.3, 4: 0.2, 5: 0.2})
    frames = screen.frames(real=False, paced=True)
    for _ in range(6):
        frames.next()
    assert screen.waited_s == pytest.approx([0.01, 0.008, 0.008, 0.006, 0.007, 0.008])
    assert screen.now_s == pytest.approx(0.072)


def test_a_real_screen_is_never_waited_for_by_the_clock():
    screen = Screen()
    screen.frames(real=True, paced=True).next()
    assert screen.waited_s == []


@pytest.mark.parametrize(
    ("duration_s", "n"), [(0, 0), (0.004, 0), (0.006, 1), (0.1, 10), (0.104, 10), (0.106, 11)]
)
def test_durations_become_whole_frames(duration_s, n):
    assert Screen(refresh_hz=100).frames().count(duration_s) == n


def test_a_duration_that_is_no_whole_number_of_frames_is_told_once(caplog):
    frames = Screen(refresh_hz=85).frames()
    assert [frames.count(0.1) for _ in range(3)] == [8, 8, 8]
    assert frames.count(1.0) == 85
    (told,) = caplog.messages
    assert "100.0 ms are no whole number of frames at 85 Hz: 8 frames last 94.1 ms" in told


def test_intervals_are_those_between_flips():
    screen = Screen(refresh_hz=50, late={22: 3.0})
    intervals = screen.frames().intervals_s(5)
    np.testing.assert_allclose(intervals, [0.02, 0.02, 0.06, 0.02, 0.02])


def test_a_screen_at_its_rate_passes():
    intervals = np.full(100, 1 / 59.94)
    intervals[:5] *= 2
    assert check_refresh(intervals, 60) == pytest.approx(59.94)


@pytest.mark.parametrize("measured_hz", [30, 59.3, 60.7, 75, 120])
def test_another_rate_is_refused(measured_hz):
    with pytest.raises(DisplayError, match=f"{measured_hz:.2f} Hz") as refused:
        check_refresh(np.full(100, 1 / measured_hz), 60)
    assert "expected: 60 Hz" in str(refused.value)
    assert "refresh_hz" in str(refused.value)


def test_an_unsteady_screen_is_refused_though_its_median_is_right():
    intervals = np.full(100, 1 / 60)
    intervals[::5] *= 2
    with pytest.raises(DisplayError, match="80% of 100 frames"):
        check_refresh(intervals, 60)


def test_a_screen_without_frames_is_refused():
    with pytest.raises(DisplayError, match="does not keep"):
        check_refresh(np.zeros(100), 60)
