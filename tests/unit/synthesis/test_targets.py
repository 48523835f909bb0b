"""Names become objectives: one for each site, or one plug-in."""

import numpy as np
import pytest

from encoders.natural import NaturalStatistics
from protocols.errors import SettingsError
from synth_server.synthesis.targets import UnknownSite, kinds, objectives_for

SITES = ("a", "b", "c")
RATES = np.array([[3.0, 5.0, 1.0], [9.0, 2.0, 1.0]])


def test_stretch_and_suppress_read_their_site():
    stretch = objectives_for("stretch", ["b", "a"], SITES)
    assert list(stretch) == ["b", "a"]
    assert stretch["b"](RATES, SITES).tolist() == [5, 2]
    assert objectives_for("suppress", ["a"], SITES)["a"](RATES, SITES).tolist() == [-3, -9]


def test_no_targets_are_all_sites():
    assert tuple(objectives_for("stretch", [], SITES)) == SITES


NATURAL = NaturalStatistics(
    n_images=3,
    mean=0.4,
    rms_contrast=0.2,
    predicted_mean={"a": 8.0, "b": 1.0, "c": 1.0},
    predicted_sd={"a": 10.0, "b": 1.0, "c": 1.0},
    predicted_max={"a": 20.0, "b": 2.0, "c": 2.0},
)


def test_one_hot_makes_sites_comparable_by_what_is_natural_to_them():
    """Unscaled, the busy site a wins the second row; scaled, b stands out of the first."""
    found = objectives_for("one-hot-population", ["b"], SITES, natural=NATURAL)["b"](RATES, SITES)
    z = (RATES - [8.0, 1.0, 1.0]) / [10.0, 1.0, 1.0]
    assert found == pytest.approx(z[:, 1] - np.log(np.exp(z).sum(axis=1)))
    plain = objectives_for("one-hot-population", ["b"], SITES)["b"](RATES, SITES)
    assert not np.allclose(found, plain)


def test_options_come_before_what_is_natural_and_one_site_needs_neither():
    own = {"mean": dict.fromkeys(SITES, 2.0), "sd": dict.fromkeys(SITES, 3.0)}
    alone = objectives_for("one-hot-population", ["c"], SITES, options=own)
    with_natural = objectives_for("one-hot-population", ["c"], SITES, natural=NATURAL, options=own)
    assert np.array_equal(alone["c"](RATES, SITES), with_natural["c"](RATES, SITES))
    stretch = objectives_for("stretch", ["b"], SITES, natural=NATURAL)["b"](RATES, SITES)
    assert np.array_equal(stretch, RATES[:, 1])


def test_any_plug_in_is_one_target():
    options = {"pattern": {"a": 3, "b": 5}}
    made = objectives_for("target-pattern", [], SITES, options=options)
    assert list(made) == ["target-pattern"]
    assert made["target-pattern"](RATES, SITES)[0] == 0
    assert {"stretch", "one-hot-population", "suppress", "target-pattern"} <= set(kinds())
    assert len(set(kinds())) == len(kinds())


@pytest.mark.parametrize(
    ("kind", "targets", "options", "problem"),
    [
        ("stretching", ["a"], {}, "no such objective"),
        ("stretch", ["a", "a"], {}, "named twice"),
        ("stretch", ["a"], {"temperature": 2}, "are wrong"),
        ("one-hot-population", ["a"], {"temperature": 0}, "are wrong"),
        ("one-hot-population", ["a"], {"mean": {"a": 1.0}}, "mean or sd"),
        ("target-pattern", ["a"], {"pattern": {"a": 3}}, "one target, made by its options"),
        ("target-pattern", [], {"pattern": {"z": 3}}, "not recorded"),
    ],
)
def test_what_cannot_be_asked_is_refused(kind, targets, options, problem):
    def scored():
        made = objectives_for(kind, targets, SITES, options=options)
        return [objective(RATES, SITES) for objective in made.values()]

    with pytest.raises(SettingsError, match=problem):
        scored()


def test_unknown_sites_are_told_apart():
    with pytest.raises(UnknownSite, match="z"):
        objectives_for("stretch", ["a", "z"], SITES)
