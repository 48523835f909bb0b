"""What the experimenter reads on the terminal while the hand moves."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rig_client.handmap.rates import Reading
from rig_client.handmap.state import Hand, Stimulus

HELP = """\
mouse moves, wheel sizes; Shift or right button + wheel turns; Ctrl + wheel: bar's width, grating's frequency
click keeps the point, Backspace takes it back; Tab: whose field; Space hides (for the baseline); Q ends
1 bar  2 grating  3 photograph (N next)  ←→ turn  ↑↓ finer, coarser  X light/dark  [ ] contrast
F flicker  D drift  {juice} juice"""
AROUND_LINES = 12
"""Lines of the terminal that are not rates."""
UNKNOWN = "no data"


def in_words(stimulus: Stimulus) -> str:
    """The stimulus in a line."""
    parts = [f"{stimulus.kind} at {stimulus.x_deg:+.2f}°, {stimulus.y_deg:+.2f}°"]
    if stimulus.kind == "bar":
        parts.append(f"{stimulus.size_deg:.2f}° × {stimulus.width_deg:.2f}°")
        parts.append("light" if stimulus.polarity > 0 else "dark")
    else:
        parts.append(f"{stimulus.size_deg:.2f}°")
    if stimulus.kind == "grating":
        parts.append(f"{stimulus.frequency_cpd:.2f} cycles/°")
    if stimulus.kind == "photograph" and stimulus.polarity < 0:
        parts.append("negative")
    parts.append(f"turned {stimulus.orientation_deg:g}°")
    parts.append(f"contrast {100 * stimulus.contrast:g} %")
    if stimulus.flicker_hz:
        drifts = stimulus.kind == "grating" and stimulus.motion == "drifts"
        parts.append(f"{'drifts' if drifts else 'reverses'} at {stimulus.flicker_hz:g} Hz")
    return ", ".join(parts) if stimulus.is_shown else f"HIDDEN ({parts[0]})"


def heard_in_words(reading: Reading) -> str:
    """How old the rates are, or why there are none."""
    age = "nothing yet" if reading.age_s == float("inf") else f"{reading.age_s:.1f} s ago"
    if reading.trouble:
        return f"{UNKNOWN.upper()}: {reading.trouble} (recorder last heard: {age})"
    baseline = (
        f"baseline of {reading.baseline_s:.1f} s"
        if reading.baseline is not None
        else "no baseline yet: hide the stimulus for two seconds (Space)"
    )
    return (
        f"spikes/s of the last {reading.window_s:.2f} s, up to {reading.lag_s:.2f} s ago; "
        f"recorder last heard {age}; {baseline}"
    )


def table(
    hand: Hand,
    reading: Reading,
    site_ids: Sequence[str],
    notes: Sequence[str],
    juice_key: str,
    size: tuple[int, int],
) -> RenderableType:
    """All of it.

    Args:
        hand: What it holds.
        reading: Of all sites.
        site_ids: Their names.
        notes: Further lines, such as what is simulated.
        juice_key: For the help.
        size: Columns and lines of the terminal: more sites stand beside each other.
    """
    width, height = size
    lines = [in_words(hand.stimulus), f"next click: the field of {hand.site or 'all sites'}"]
    if hand.kept:
        last = hand.kept[-1]
        lines.append(
            f"{len(hand.kept)} kept; last, number {last.number}: {in_words(last.stimulus)}"
            + (f" ({last.site})" if last.site else "")
        )
    heard = Text(heard_in_words(reading), style="bold red" if reading.trouble else "")
    return Group(
        *map(Text, lines),
        heard,
        *(Text(note, style="bold") for note in (*notes, hand.said) if note),
        _rates(hand, reading, site_ids, max(4, height - AROUND_LINES), width),
        Text(HELP.format(juice=juice_key.upper()), style="dim"),
    )


def _rates(hand: Hand, reading: Reading, site_ids: Sequence[str], n_rows: int, width: int) -> Table:
    """Site, rate now, slower average, baseline; in as many groups of columns as it takes.

    Where that is too wide, only the rates now; where that is too wide, only of the highest.
    """
    places = list(range(len(site_ids)))
    n_rows = min(n_rows, max(1, len(places)))
    name_width = max((len(site) for site in site_ids), default=4) + 3
    is_full = -(-len(places) // n_rows) * (name_width + 28) <= width
    n_room = n_rows * max(1, width // (name_width + 9))
    if not is_full and len(places) > n_room:
        rates = reading.rates
        places.sort(key=lambda place: 0 if rates is None else -rates[place])
        places = places[:n_room]
    n_groups = -(-len(places) // n_rows)
    found = Table(box=None, pad_edge=False, padding=(0, 1))
    columns = ("now", "2 s", "baseline") if is_full else ("now",)
    for _ in range(n_groups):
        found.add_column("site", no_wrap=True)
        for name in columns:
            found.add_column(name, justify="right", no_wrap=True)
    for row in range(n_rows):
        cells: list[Text] = []
        for place in places[row::n_rows]:
            cells += _cells(hand, reading, site_ids[place], place)[: 1 + len(columns)]
        found.add_row(*cells)
    if len(places) < len(site_ids):
        found.title = f"{len(places)} of {len(site_ids)} sites: the highest"
    return found


def _cells(hand: Hand, reading: Reading, site: str, place: int) -> list[Text]:
    name = Text(f"> {site}" if site == hand.site else f"  {site}")
    if reading.rates is None:
        return [name, Text(UNKNOWN, style="red"), Text("–"), _number(reading.baseline, place)]
    if not reading.has_fired[place]:
        return [name, Text("none yet", style="red"), Text("–"), Text("–")]
    return [
        name,
        *(_number(one, place) for one in (reading.rates, reading.smooth, reading.baseline)),
    ]


def _number(numbers: object, place: int) -> Text:
    if numbers is None:
        return Text("–")
    return Text(f"{numbers[place]:.1f}")  # type: ignore[index]
