import numpy as np
import pytest

from protocols.errors import DataError, SettingsError
from synth_server.synthesis.objectives import (
    MeanOfSites,
    MeanOfSitesSettings,
    SiteObjective,
    SiteSettings,
)

SITES = ("a", "b", "c")
RESPONSES = np.array([[1.0, 2.0, 3.0], [np.nan, np.nan, np.nan], [4.0, 8.0, np.nan]])


def test_site_takes_its_column():
    fitness = SiteObjective(SiteSettings(site="b"))(RESPONSES, SITES)
    assert fitness == pytest.approx([2.0, np.nan, 8.0], nan_ok=True)


def test_mean_of_all_or_of_some():
    everything = MeanOfSites(MeanOfSitesSettings())(RESPONSES, SITES)
    some = MeanOfSites(MeanOfSitesSettings(sites=("a", "b")))(RESPONSES, SITES)
    assert everything == pytest.approx([2.0, np.nan, np.nan], nan_ok=True)
    assert some == pytest.approx([1.5, np.nan, 6.0], nan_ok=True)


def test_a_missing_site_is_named_with_those_recorded():
    with pytest.raises(SettingsError, match=r"a, b, c(.|\n)*nonesuch"):
        SiteObjective(SiteSettings(site="nonesuch")).sites(SITES)


def test_responses_of_other_sites_are_refused():
    with pytest.raises(DataError, match="do not fit"):
        MeanOfSites(MeanOfSitesSettings())(RESPONSES, ("a", "b"))
