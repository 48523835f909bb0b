"""Every installed optimizer keeps the contract, whoever wrote it."""

import numpy as np
import pytest

from protocols import plugins
from protocols.conformance import check_optimizer
from protocols.errors import PluginError
from protocols.settings import PluginChoice
from synth_server.synthesis.optimizers.turns import Turns

GROUP = "stimloop.optimizers"
OPTIONS = [
    ("genetic", {"preset": "xdream"}),
    ("genetic", {"preset": "poncelab"}),
    ("genetic", {"preset": "wang_ponce"}),
    ("sphere_cma", {"schedule": "inv"}),
    ("sphere_cma", {"norm": 7.0, "selected": 1.0}),
    ("cholesky_cma", {"max_norm": 4.0, "update_every": 1}),
    ("diagonal_cma", {"max_norm": 4.0}),
]
NAMES = plugins.names(GROUP)
CHOICES = [
    *(PluginChoice(name=name) for name in NAMES),
    *(PluginChoice(name=name, options=options) for name, options in OPTIONS),
    *(PluginChoice(name=name, options={"population": n}) for name in NAMES for n in (7, 64)),
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_optimizer_keeps_its_contract(choice):
    check_optimizer(lambda sample, random: plugins.create(GROUP, choice, sample, random))


class _Careless:
    """Keeps the whole contract, as a ground to break single promises on."""

    def __init__(self, sample, random):
        self._random, self._turns = random, Turns()
        self._codes = sample(4, random)

    def ask(self):
        return self._turns.ask(self._codes)

    def tell(self, codes, fitness):
        order = self._turns.tell(codes, fitness)
        if not np.isnan(fitness[order[0]]):
            self._codes = self.bred(codes, fitness, order)

    def bred(self, codes, fitness, order):
        steps = self._random.standard_normal(codes.shape, dtype=np.float32)
        return codes[order[:1]] + steps


class _Forgetful(_Careless):
    def ask(self):
        return self._codes

    def tell(self, codes, fitness):
        codes[:] = 0


class _Spoiled(_Careless):
    """A mean over fitness with NaN in it is NaN."""

    def bred(self, codes, fitness, order):
        return super().bred(codes, fitness, order) * np.float32(1 + 0 * fitness.mean())


class _Shrinking(_Careless):
    """Loses what was not measured."""

    def bred(self, codes, fitness, order):
        return super().bred(codes, fitness, order)[~np.isnan(fitness[order])]


class _Ordered(_Careless):
    """Trusts the order of rows, but only where some were not measured."""

    def bred(self, codes, fitness, order):
        unsorted = np.isnan(fitness).any()
        return super().bred(codes, fitness, np.arange(len(codes)) if unsorted else order)


class _Stubborn(_Careless):
    """Starts where it likes."""

    def __init__(self, sample, random):
        super().__init__(sample, random)
        self._codes = random.standard_normal(self._codes.shape, dtype=np.float32)


class _Global(_Careless):
    """Another session would be another evolution."""

    drawn = 0

    def bred(self, codes, fitness, order):
        _Global.drawn += 1
        return super().bred(codes, fitness, order) + np.float32(_Global.drawn)


def test_the_ground_keeps_the_contract():
    check_optimizer(_Careless)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (_Forgetful, r"tell\(\) before ask\(\) must be refused"),
        (_Spoiled, r"unmeasured codes \(NaN fitness\) must be tolerated"),
        (_Shrinking, "the size of the population must not depend on gaps"),
        (_Ordered, "permuting codes and fitness together"),
        (_Stubborn, "first population must be what the sampler drew"),
        (_Global, "the same codes must be asked"),
    ],
)
def test_a_breach_is_named(broken, promise):
    with pytest.raises(PluginError, match=promise):
        check_optimizer(broken)
