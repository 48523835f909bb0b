"""What a hand-held stimulus is, and what each movement of the hand makes of it. Knows no window.

Degrees of visual angle from the screen's centre, right and up, as in `Placement`. Orientations are
degrees anticlockwise from horizontal, of a bar's long side, a grating's stripes, a picture's base.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["bar", "grating", "photograph"]
Motion: TypeAlias = Literal["reverses", "drifts"]

SIZE_STEP, FINE_STEP = 1.1, 2**0.25
SIZES_DEG = (0.1, 60.0)
WIDTHS_DEG = (0.05, 20.0)
FREQUENCIES = (0.05, 16.0)
"""Cycles in a degree."""
TURN_DEG = 7.5
"""A step of the wheel, or half a press of an arrow key."""
CONTRASTS = (1.0, 0.5, 0.25, 0.125, 0.0625)
FLICKERS_HZ = (0.0, 1.0, 2.0, 4.0, 8.0)


class Stimulus(NamedTuple):
    """What is in the hand.

    Attributes:
        kind: What is shown of it.
        x_deg: Its centre.
        y_deg: Likewise.
        size_deg: A bar's length, a grating's diameter, a photograph's longer side.
        width_deg: A bar's other side.
        orientation_deg: 0 up to 360.
        frequency_cpd: Of a grating, cycles in a degree.
        polarity: 1: a light bar, a photograph as it is; −1: dark, or the negative.
        contrast: 0..1, against the background.
        flicker_hz: Reversals of contrast, two in a cycle, or a grating's drift; 0: it stands.
        motion: Whether a grating drifts, or reverses as the others do.
        photograph: Which one; counts on beyond the last.
        is_shown: Whether it is on the screen.
    """

    kind: Kind = "bar"
    x_deg: float = 0.0
    y_deg: float = 0.0
    size_deg: float = 2.0
    width_deg: float = 0.4
    orientation_deg: float = 0.0
    frequency_cpd: float = 1.0
    polarity: int = 1
    contrast: float = 1.0
    flicker_hz: float = 0.0
    motion: Motion = "reverses"
    photograph: int = 0
    is_shown: bool = True

    @property
    def sides_deg(self) -> tuple[float, float]:
        """Its shorter and its longer side; of a photograph, the longer one twice."""
        width = self.width_deg if self.kind == "bar" else self.size_deg
        return min(width, self.size_deg), max(width, self.size_deg)


class Kept(NamedTuple):
    """A point that was kept: its number, the stimulus, and whose field is there; "": all sites'."""

    number: int
    stimulus: Stimulus
    site: str


class Hand(NamedTuple):
    """The whole of it.

    Attributes:
        stimulus: In the hand.
        site: Whose field the next point is; "": all sites'.
        kept: Points, the oldest first, but for those taken back.
        n_clicked: Points so far, with those taken back.
        is_over: Whether it was ended.
        said: What the last press came to, for people.
    """

    stimulus: Stimulus = Stimulus()
    site: str = ""
    kept: tuple[Kept, ...] = ()
    n_clicked: int = 0
    is_over: bool = False
    said: str = ""


class Moved(NamedTuple):
    """The pointer is there."""

    x_deg: float
    y_deg: float


class Wheeled(NamedTuple):
    """The wheel turned by so many steps, up is positive.

    `way`: "size" alone; "turn" with Shift or the right button; "fine" with Ctrl: a bar's width, a
    grating's frequency.
    """

    steps: float
    way: Literal["size", "turn", "fine"] = "size"


class Clicked(NamedTuple):
    """The left button: keep the point."""


class Pressed(NamedTuple):
    """A key that is named in `KEYS`."""

    key: str


Event: TypeAlias = Moved | Wheeled | Clicked | Pressed

KEYS = {
    "1": "bar",
    "2": "grating",
    "3": "photograph",
    "left": "turn left",
    "right": "turn right",
    "up": "finer",
    "down": "coarser",
    "x": "polarity",
    "bracketleft": "less contrast",
    "bracketright": "more contrast",
    "f": "flicker",
    "d": "drift",
    "n": "next photograph",
    "space": "hide",
    "tab": "next site",
    "backspace": "take back",
    "q": "end",
    "escape": "end",
}
"""Key → what it does."""


def after(hand: Hand, event: Event, sites: tuple[str, ...] = (), n_photographs: int = 0) -> Hand:
    """The hand after `event`; what cannot be done is said, and changes nothing else.

    Args:
        hand: Before.
        event: What happened.
        sites: Names of the recorded sites.
        n_photographs: How many there are to choose from.
    """
    stimulus = hand.stimulus
    match event:
        case Moved(x, y):
            return hand._replace(stimulus=stimulus._replace(x_deg=x, y_deg=y))
        case Wheeled(steps, way):
            return hand._replace(stimulus=_wheeled(stimulus, steps, way))
        case Clicked():
            if not stimulus.is_shown:
                return hand._replace(said="not kept: nothing is shown there (Space shows it)")
            number = hand.n_clicked + 1
            kept = (*hand.kept, Kept(number, stimulus, hand.site))
            return hand._replace(kept=kept, n_clicked=number, said=f"point {number} kept")
        case Pressed(key):
            return _pressed(hand, KEYS.get(key, ""), sites, n_photographs)


def _wheeled(stimulus: Stimulus, steps: float, way: str) -> Stimulus:
    if way == "turn":
        return _turned(stimulus, steps * TURN_DEG)
    if way == "fine":
        return _finer(stimulus, -steps)
    size = _within(stimulus.size_deg * SIZE_STEP**steps, SIZES_DEG)
    return stimulus._replace(size_deg=size)


def _turned(stimulus: Stimulus, by_deg: float) -> Stimulus:
    return stimulus._replace(orientation_deg=(stimulus.orientation_deg + by_deg) % 360)


def _finer(stimulus: Stimulus, steps: float) -> Stimulus:
    """A narrower bar, or more cycles in a degree."""
    if stimulus.kind == "grating":
        frequency = stimulus.frequency_cpd * FINE_STEP**steps
        return stimulus._replace(frequency_cpd=_within(frequency, FREQUENCIES))
    width = stimulus.width_deg / FINE_STEP**steps
    return stimulus._replace(width_deg=_within(width, WIDTHS_DEG))


def _pressed(hand: Hand, what: str, sites: tuple[str, ...], n_photographs: int) -> Hand:
    stimulus = hand.stimulus
    match what:
        case "end":
            return hand._replace(is_over=True)
        case "take back":
            if not hand.kept:
                return hand._replace(said="no point to take back")
            said = f"point {hand.kept[-1].number} taken back"
            return hand._replace(kept=hand.kept[:-1], said=said)
        case "next site":
            around = ("", *sites)
            place = around.index(hand.site) if hand.site in around else 0
            return hand._replace(site=around[(place + 1) % len(around)], said="")
        case "photograph" | "next photograph" if not n_photographs:
            return hand._replace(said="there are no photographs: --photographs FOLDER")
        case _:
            return hand._replace(stimulus=_changed(stimulus, what, n_photographs), said="")


def _changed(stimulus: Stimulus, what: str, n_photographs: int) -> Stimulus:
    match what:
        case "bar" | "grating" | "photograph":
            return stimulus._replace(kind=what)
        case "next photograph":
            number = (stimulus.photograph + 1) % n_photographs
            return stimulus._replace(kind="photograph", photograph=number)
        case "turn left" | "turn right":
            return _turned(stimulus, 2 * TURN_DEG if what == "turn left" else -2 * TURN_DEG)
        case "finer" | "coarser":
            return _finer(stimulus, 1 if what == "finer" else -1)
        case "polarity":
            return stimulus._replace(polarity=-stimulus.polarity)
        case "less contrast" | "more contrast":
            place = CONTRASTS.index(stimulus.contrast) + (1 if what == "less contrast" else -1)
            place = min(max(place, 0), len(CONTRASTS) - 1)
            return stimulus._replace(contrast=CONTRASTS[place])
        case "flicker":
            place = FLICKERS_HZ.index(stimulus.flicker_hz) + 1
            return stimulus._replace(flicker_hz=FLICKERS_HZ[place % len(FLICKERS_HZ)])
        case "drift":
            drifts = stimulus.motion == "drifts"
            return stimulus._replace(motion="reverses" if drifts else "drifts")
        case "hide":
            return stimulus._replace(is_shown=not stimulus.is_shown)
    return stimulus


def _within(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])
