"""Every installed objective keeps the contract."""

import numpy as np
import pytest

from protocols import plugins
from protocols.conformance import check_objective, check_objective_refuses
from protocols.errors import PluginError
from protocols.settings import PluginChoice

GROUP = "stimloop.objectives"
SITES = ("V4-01", "V4-02", "IT-01")
SCALES = {"mean": dict.fromkeys(SITES, 5.0), "sd": dict.fromkeys(SITES, 2.0)}
OPTIONS = {
    "site": {"site": "V4-02"},
    "mean_of_sites": {"sites": ["V4-02", "IT-01"]},
    "weighted_sites": {"weights": {"V4-02": 1.0, "IT-01": -0.5}},
    "suppress": {"site": "V4-02"},
    "one_hot_population": {"site": "V4-02", **SCALES},
    "target_pattern": {"pattern": {"V4-01": 3.0, "IT-01": 7.0}},
}


def _objective(name):
    return plugins.create(GROUP, PluginChoice(name=name, options=OPTIONS.get(name, {})))


@pytest.mark.parametrize("name", plugins.names(GROUP))
def test_objective_keeps_its_contract(name):
    check_objective(_objective(name), SITES)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_objective_refuses_sites_that_are_not_recorded(name):
    check_objective_refuses(_objective(name), ("V1-01", "V1-02"))


class _ByPlace:
    """Breaks the contract: takes the first column, whatever its name."""

    def sites(self, recorded):
        pass

    def __call__(self, responses, site_ids):
        return responses[:, 0].astype(np.float64)


def test_a_breach_is_named():
    with pytest.raises(PluginError, match="by name, not by place"):
        check_objective(_ByPlace(), SITES)
