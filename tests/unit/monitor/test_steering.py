"""The page's dialog "Steer": what is said becomes a message, or an error that says what is missing."""

from __future__ import annotations

import pytest

from protocols.errors import SettingsError
from protocols.fields import FieldPlace
from protocols.vocabulary import Placement
from protocols.wire import messages as msg
from synth_server.monitor.steering import Steered, wish_of

TOML = 'name = "b"\nprotocol = "evolve"\n[settings]\nn_generations = 3\n'


@pytest.mark.parametrize(
    ("said", "wish"),
    [
        ({"kind": "finish"}, msg.Finish()),
        ({"kind": "finish", "thread": "a"}, msg.Finish(thread="a")),
        ({"kind": "drop_site", "sites": " A-1 "}, msg.DropSite(site="A-1")),
        (
            {"kind": "retarget", "thread": "a", "sites": "A-1, A-2,"},
            msg.Retarget(thread="a", sites=("A-1", "A-2")),
        ),
        (
            {"kind": "place", "thread": "a", "x_deg": -1, "y_deg": 0, "size_deg": 3},
            msg.Place(thread="a", place=Placement(x_deg=-1, y_deg=0, size_deg=3)),
        ),
        (
            {"kind": "place", "fields": "fields.json", "sites": "A-1"},
            msg.Place(place=FieldPlace(fields="fields.json", sites=("A-1",))),
        ),
    ],
)
def test_what_is_said_becomes_a_message(said, wish):
    assert wish_of(Steered(**said)) == wish


@pytest.mark.parametrize(
    "toml", [TOML, "[[threads]]\n" + TOML.replace("[settings]", "[threads.settings]")]
)
def test_a_thread_is_said_as_in_a_session(toml):
    wish = wish_of(Steered(kind="add_thread", toml=toml))
    assert isinstance(wish, msg.AddThread)
    assert (wish.thread.name, wish.thread.settings) == ("b", {"n_generations": 3})


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"kind": "drop_site"}, "name one site"),
        ({"kind": "drop_site", "sites": "a, b"}, "name one site"),
        ({"kind": "retarget"}, "sites"),
        ({"kind": "place", "x_deg": 1, "y_deg": 2}, "where the images are to be"),
        ({"kind": "place", "x_deg": 1, "y_deg": 2, "size_deg": 0}, "size_deg"),
        ({"kind": "add_thread", "toml": "name ="}, "not TOML"),
        ({"kind": "add_thread", "toml": ""}, "name"),
        ({"kind": "add_thread", "toml": "[[threads]]\n[[threads]]"}, "one thread at a time"),
    ],
)
def test_what_is_missing_is_said(said, complaint):
    with pytest.raises(SettingsError, match=complaint):
        wish_of(Steered(**said))
