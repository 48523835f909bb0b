import numpy as np
import pytest
import torch

from protocols import plugins
from protocols.errors import DataError, SettingsError
from protocols.settings import PluginChoice
from synth_server.synthesis.objectives import (
    MeanOfSites,
    MeanOfSitesSettings,
    OneHotPopulation,
    OneHotPopulationSettings,
    SiteObjective,
    SiteSettings,
    Suppress,
    TargetPattern,
    TargetPatternSettings,
    WeightedSites,
    WeightedSitesSettings,
)

SITES = ("a", "b", "c")
RESPONSES = np.array([[1.0, 2.0, 3.0], [np.nan, np.nan, np.nan], [4.0, 8.0, np.nan]])
SCALES = {"mean": {"a": 1.0, "b": 2.0, "c": 3.0}, "sd": {"a": 1.0, "b": 2.0, "c": 4.0}}
ALL = {
    "site": {"site": "b"},
    "suppress": {"site": "c"},
    "mean_of_sites": {"sites": ("a", "c")},
    "weighted_sites": {"weights": {"a": 2.0, "c": -1.0}, **SCALES},
    "one_hot_population": {"site": "b", "temperature": 0.7, **SCALES},
    "target_pattern": {"pattern": {"a": 2.0, "b": 5.0, "c": -1.0}, **SCALES},
    "target_pattern, correlation": {
        "pattern": {"a": 2.0, "b": 5.0, "c": -1.0},
        "measure": "correlation",
    },
}


def objective(name):
    choice = PluginChoice(name=name.split(",")[0], options=ALL[name])
    return plugins.create("stimloop.objectives", choice)


def test_site_takes_its_column():
    fitness = SiteObjective(SiteSettings(site="b"))(RESPONSES, SITES)
    assert fitness == pytest.approx([2.0, np.nan, 8.0], nan_ok=True)


def test_suppress_is_its_negative():
    fitness = Suppress(SiteSettings(site="b"))(RESPONSES, SITES)
    assert fitness == pytest.approx([-2.0, np.nan, -8.0], nan_ok=True)


def test_mean_of_all_or_of_some():
    everything = MeanOfSites(MeanOfSitesSettings())(RESPONSES, SITES)
    some = MeanOfSites(MeanOfSitesSettings(sites=("a", "b")))(RESPONSES, SITES)
    assert everything == pytest.approx([2.0, np.nan, np.nan], nan_ok=True)
    assert some == pytest.approx([1.5, np.nan, 6.0], nan_ok=True)


def test_weights_add_up_and_leave_others_alone():
    settings = WeightedSitesSettings(weights={"a": 2.0, "b": -1.0, "c": 0.0})
    assert WeightedSites(settings)(RESPONSES, SITES) == pytest.approx([0, np.nan, 0], nan_ok=True)
    assert WeightedSites(settings).sites(SITES) == ("a", "b")


def test_one_hot_is_the_logarithm_of_the_softmax():
    settings = OneHotPopulationSettings(site="b", temperature=0.5)
    score = OneHotPopulation(settings)(RESPONSES, SITES)
    e = np.exp(RESPONSES[0] / 0.5)
    assert score == pytest.approx([np.log(e[1] / e.sum()), np.nan, np.nan], nan_ok=True)


def test_one_hot_over_a_part_of_the_sites_in_units_of_their_sd():
    settings = OneHotPopulationSettings(site="b", sites=("b", "a"), **SCALES)
    score = OneHotPopulation(settings)(RESPONSES, SITES)
    assert score == pytest.approx([np.log(0.5), np.nan, -np.log1p(1)], nan_ok=True)
    assert OneHotPopulation(settings).sites(SITES) == ("b",)


def test_one_hot_survives_responses_of_any_size():
    score = OneHotPopulation(OneHotPopulationSettings(site="a"))(
        np.array([[1e4, 0, 0], [0, 1e4, 0]]), SITES
    )
    assert score == pytest.approx([0, -1e4])


def test_a_pattern_is_approached():
    settings = TargetPatternSettings(pattern={"a": 1, "b": 4, "c": 3})
    assert TargetPattern(settings)(RESPONSES, SITES)[0] == pytest.approx(-4 / 3)


def test_a_pattern_may_be_matched_in_shape_alone():
    settings = TargetPatternSettings(pattern={"a": 1, "b": 4, "c": 2}, measure="correlation")
    responses = np.array([[10, 40, 20], [3, 3, 3], [1, 2, 3]], float)
    expected = [1, 0, np.corrcoef([1, 4, 2], [1, 2, 3])[0, 1]]
    assert TargetPattern(settings)(responses, SITES) == pytest.approx(expected)


@pytest.mark.parametrize("name", ALL)
def test_tensors_score_as_arrays_do_and_keep_the_gradient(name):
    counts = np.random.default_rng(3).uniform(0, 9, (6, 3))
    rates = torch.from_numpy(counts).requires_grad_()
    score = objective(name)(rates, SITES)
    np.testing.assert_allclose(score.detach().numpy(), objective(name)(counts, SITES), rtol=1e-12)
    score.sum().backward()
    assert torch.isfinite(rates.grad).all()
    assert rates.grad.abs().sum() > 0
    assert objective(name)(rates.float(), SITES).dtype == torch.float32


@pytest.mark.parametrize("name", ALL)
def test_flat_responses_have_a_finite_gradient(name):
    rates = torch.zeros(2, 3, requires_grad=True)
    objective(name)(rates, SITES).sum().backward()
    assert torch.isfinite(rates.grad).all()


def test_a_missing_site_is_named_with_those_recorded():
    with pytest.raises(SettingsError, match=r"a, b, c(.|\n)*nonesuch"):
        SiteObjective(SiteSettings(site="nonesuch")).sites(SITES)


def test_a_missing_mean_is_named():
    settings = OneHotPopulationSettings(site="a", mean={"a": 1.0, "b": 1.0})
    with pytest.raises(SettingsError, match="none for c"):
        OneHotPopulation(settings)(RESPONSES, SITES)


def test_responses_of_other_sites_are_refused():
    with pytest.raises(DataError, match="do not fit"):
        MeanOfSites(MeanOfSitesSettings())(RESPONSES, ("a", "b"))


@pytest.mark.parametrize(
    ("model", "options", "complaint"),
    [
        (OneHotPopulationSettings, {"site": "a", "sites": ("b", "c")}, "must be one of"),
        (OneHotPopulationSettings, {"site": "a", "sd": {"a": 0.0}}, "above 0"),
        (TargetPatternSettings, {"pattern": {"a": 1.0}, "measure": "correlation"}, "two values"),
        (WeightedSitesSettings, {"weights": {"a": 0.0}}, "differ from 0"),
    ],
)
def test_senseless_settings_are_refused(model, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        model(**options)
