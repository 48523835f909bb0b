"""What is said beforehand is what the plan then shows."""

from __future__ import annotations

from protocols.documents import ThreadSettings
from synth_server.session.expected import expected, said


def thread(protocol, **settings):
    return ThreadSettings(name=protocol, protocol=protocol, settings=settings)


def test_a_mapping_of_fields_is_counted_at_its_longest():
    """20 x (81 + 8) + 20 x (49 + 5), 0.2 s each."""
    found = expected(thread("map_fields"), 4)
    assert found.presentations == 2860
    assert round(found.minutes, 1) == 9.5


def test_a_stretch_of_96_sites_is_long():
    """The issue's own figures, for a session without rounds: 27,620 presentations, 92 minutes."""
    text, is_long = said([thread("stretch", learning={"rounds": 0})], 96)
    assert is_long
    assert text == "at most 27,620 presentations, 92 minutes without a break"
    best, is_long = said([thread("stretch", learning={"rounds": 0}, targets={"best": 12})], 96)
    assert best.startswith("at most 9,")
    assert not is_long


def test_responses_and_what_is_not_known():
    assert expected(thread("map_responses", n_images=50, repetitions=3), 1).presentations == 150
    assert expected(thread("map_responses"), 1) is None
    assert said([thread("replay", session="x")], 1) == ("", False)
    text, _ = said([thread("map_responses", n_images=5, repetitions=1), thread("replay")], 1)
    assert text.endswith("besides replay, which cannot be said beforehand")


def test_variants_are_counted_for_all_sites():
    """The mapping; then, passes over bases, and over changes for each radius and site."""
    changes = {"n_images": 10, "n_bases": 2, "repetitions": 5, "mapping": {"repetitions": 3}}
    found = expected(thread("perturb", radii=(1.0, 2.0), **changes), 4)
    assert found.presentations == 3 * 10 + 5 * 2 * (1 + 2 * (1 + 2 * 4))
    found = expected(thread("reduction", shares=(0.1, 0.2), **changes, encoder="file"), 4)
    assert found.presentations == 5 * 4 * 2 * (1 + 4 * 2)


def test_a_check_counts():
    known = {"encoder": "file", "candidates": {"a": ["im"]}, "targets": ["a"]}
    alone, checked = (
        expected(thread("stretch", **known, **more), 9).presentations
        for more in ({}, {"check": {"n_images": 40, "repetitions": 3}})
    )
    assert checked == alone + 120


def test_an_evolution_is_generations_and_test():
    evolution = thread(
        "evolve", n_generations=3, n_references=4, test_repetitions=2, n_test_images=3,
        n_test_natural=1, optimizer={"name": "random_search", "options": {"population": 5}},
    )  # fmt: skip
    assert expected(evolution, 1).presentations == 3 * 9 + 2 * (3 + 2)
