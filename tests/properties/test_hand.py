"""Whatever the hand does, the stimulus stays one that can be shown, and no point is lost or made up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rig_client.display.geometry import Geometry
from rig_client.handmap.picture import LARGEST_PX, Look, picture
from rig_client.handmap.state import (
    CONTRASTS,
    FLICKERS_HZ,
    FREQUENCIES,
    KEYS,
    SIZES_DEG,
    WIDTHS_DEG,
    Clicked,
    Event,
    Hand,
    Moved,
    Pressed,
    Wheeled,
    after,
)

SITES = ("a", "b")
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Moved, st.floats(-40, 40), st.floats(-30, 30)),
    st.builds(Wheeled, st.floats(-20, 20), st.sampled_from(["size", "turn", "fine"])),
    st.just(Clicked()),
    st.builds(Pressed, st.sampled_from([*KEYS, "w", "f12"])),
)


def played(events: list[Event], n_photographs: int = 0) -> Hand:
    hand = Hand()
    for event in events:
        hand = after(hand, event, SITES, n_photographs)
    return hand


@given(st.lists(EVENTS, max_size=40), st.integers(0, 3))
def test_the_stimulus_stays_within_its_limits(events: list[Event], n_photographs: int) -> None:
    hand = played(events, n_photographs)
    one = hand.stimulus
    assert SIZES_DEG[0] <= one.size_deg <= SIZES_DEG[1]
    assert WIDTHS_DEG[0] <= one.width_deg <= WIDTHS_DEG[1]
    assert FREQUENCIES[0] <= one.frequency_cpd <= FREQUENCIES[1]
    assert 0 <= one.orientation_deg <= 360
    assert one.contrast in CONTRASTS
    assert one.flicker_hz in FLICKERS_HZ
    assert one.polarity in (1, -1)
    assert hand.site in ("", *SITES)
    assert n_photographs or one.kind != "photograph"
    moves = [event for event in events if isinstance(event, Moved)]
    assert (one.x_deg, one.y_deg) == (moves[-1] if moves else (0, 0)), "where the pointer is"


@given(st.lists(EVENTS, max_size=60))
def test_points_are_the_clicks_on_what_was_shown_less_those_taken_back(events: list[Event]) -> None:
    hand, expected = Hand(), []
    for event in events:
        before, hand = hand, after(hand, event, SITES)
        if event == Clicked() and before.stimulus.is_shown:
            expected.append((before.n_clicked + 1, before.stimulus, before.site))
        elif event == Pressed("backspace"):
            expected = expected[:-1]
    assert list(hand.kept) == expected
    numbers = [kept.number for kept in hand.kept]
    assert sorted(set(numbers)) == numbers, "no number stands for two points"


@given(st.lists(EVENTS, max_size=15))
def test_what_was_done_can_be_undone(events: list[Event]) -> None:
    hand = played(events)
    for there, back in ((1.0, -1.0), (-1.0, 1.0)):
        turned = after(after(hand, Wheeled(there, "turn")), Wheeled(back, "turn")).stimulus
        assert abs(turned.orientation_deg - hand.stimulus.orientation_deg) % 360 < 1e-6 or (
            abs(abs(turned.orientation_deg - hand.stimulus.orientation_deg) - 360) < 1e-6
        )
    twice = after(after(hand, Pressed("x")), Pressed("x"))
    assert twice.stimulus == hand.stimulus
    assert after(after(hand, Pressed("space")), Pressed("space")).stimulus == hand.stimulus


@given(
    st.sampled_from(["1", "2"]),
    st.floats(0.1, 60),
    st.floats(0, 360),
    st.sampled_from([1, -1]),
    st.sampled_from([0, 64, 128, 200, 255]),
)
def test_any_picture_can_be_made_and_ends_in_background(
    key: str, size_deg: float, turn: float, sign: int, background: int
) -> None:
    geometry = Geometry((64, 48), 1.6, 57.0)
    stimulus = played([Pressed(key)]).stimulus._replace(size_deg=size_deg, orientation_deg=turn)
    pixels = picture(stimulus, Look(sign), geometry, background, [])
    assert pixels.ndim == 3
    assert max(pixels.shape) <= 1.5 * LARGEST_PX
    assert (pixels[..., 0] == pixels[..., 1]).all()
