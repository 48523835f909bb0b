"""Names: sites that never come, units that are none, sites that fall silent."""

from __future__ import annotations

import pytest

from rig_client.acquisition.names import N_FIRST, Names, plain


@pytest.mark.parametrize(
    ("said", "name"),
    [("3.0", "3"), ("3.", "3"), ("-2.000", "-2"), (" Electrode 1 ", "Electrode 1"), ("3.5", "3.5")],
)
def test_whole_numbers_and_blanks(said, name):
    assert plain(said) == name


def test_a_float_that_is_whole_is_the_number_whichever_side_says_it():
    names = Names({"a": "3", "b": "4.0"})
    assert names.sites(("3.0",)) == ["a"]
    assert names.sites(("4",)) == ["b"]
    assert names.sites(("13.0",)) == []


def test_one_spike_may_be_known_by_several_names():
    names = Names({"whole": "Electrode 1", "unit": "Electrode 1#2"})
    assert names.sites(
        (
            "Electrode 1",
            "Electrode 1#2",
        )
    ) == ["whole", "unit"]
    assert names.sites(
        (
            "Electrode 1",
            "Electrode 1#1",
        )
    ) == ["whole"]


def shown(names, n=N_FIRST):
    for _ in range(n):
        names.shown()
    return names.notes()


def test_what_never_comes_and_what_nobody_asked_for_is_told_once():
    names = Names({"V4-a": "Electrode 1", "V4-b": "Electrode1"})
    for _ in range(50):
        names.sites(
            (
                "Electrode 1",
                "Electrode 1#0",
            )
        )
        names.sites(
            (
                "Electrode 2",
                "Electrode 2#0",
            )
        )
    assert shown(names, N_FIRST - 1) == []
    missing, strangers = shown(names, 1)
    assert missing.startswith(
        "no spike has come of V4-b ('Electrode1'); the stream has 'Electrode 2'"
    )
    assert strangers == "the stream has units that are no site of rig.toml: 'Electrode 2'"
    assert shown(names) == []


def test_names_that_all_fit_are_not_worth_a_word():
    names = Names({"a": "1"})
    names.sites(("1",))
    assert shown(names) == []


def test_many_are_counted_not_listed():
    names = Names({f"site {n}": str(n) for n in range(96)})
    (note,) = shown(names)
    assert note.endswith("site 4 ('4') and 91 more")


def test_a_site_that_was_silent_for_a_whole_block_is_pointed_out_once():
    names = Names({"a": "1", "b": "2", "c": "3"})
    for block in range(3):
        names.block_begins()
        for _ in range(10):
            names.sites(("1",))
            names.sites(("2",) if block != 1 else ("3",))
    names.block_begins()
    first, second, third = names.notes()
    assert first == "c had no spike in the whole block before, while 2 others fired 20 times"
    assert second.startswith("b had no spike")
    assert third.startswith("c had no spike"), "it had been back"


def test_a_block_without_spikes_says_nothing_of_a_single_site():
    names = Names({"a": "1", "b": "2"})
    for _ in range(3):
        names.block_begins()
        names.sites(("1",))
    assert names.notes() == []


def test_what_was_seen_is_counted_by_the_recorders_names():
    names = Names({"V4-a": "1"})
    for _ in range(3):
        names.sites(("1",))
    names.sites(("2",))
    assert names.seen() == {"1": 3, "2": 1}
