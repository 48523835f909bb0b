"""The shipped conformance checks, on every simulated population and on the recorder."""

import pytest

from protocols.conformance import check_acquisition, check_population
from protocols.interfaces import SessionInfo
from protocols.plugins import create
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Role
from simulated_neurons.photographs import natural_patches

SUBJECTS = ["v4_like", "gabor_energy", "units"]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_populations(subject):
    population = create("stimloop.subjects", PluginChoice(name=subject))
    check_population(population, natural_patches(112)[:8])


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_recorder(subject):
    choice = PluginChoice(name="simulated", options={"subject": {"name": subject}})
    session = SessionInfo(session_id="test", seed=0)
    acquisition = create("stimloop.acquisitions", choice, session)
    images = natural_patches(64)[:4]
    check_acquisition(acquisition, Block.of(images, roles=Role.NATURAL).at(0, "main"))
