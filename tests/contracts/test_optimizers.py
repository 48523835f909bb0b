"""Every installed optimizer keeps the contract, whoever wrote it."""

import pytest

from protocols import plugins
from protocols.conformance import check_optimizer
from protocols.errors import PluginError
from protocols.settings import PluginChoice

GROUP = "stimloop.optimizers"
CHOICES = [PluginChoice(name=name) for name in plugins.names(GROUP)] + [
    PluginChoice(name="genetic", options={"preset": preset})
    for preset in ("xdream", "poncelab", "wang_ponce")
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_optimizer_keeps_its_contract(choice):
    check_optimizer(lambda sample, random: plugins.create(GROUP, choice, sample, random))


class _Forgetful:
    """Breaks the contract: asks the same forever, in no order."""

    def __init__(self, sample, random):
        self._codes = sample(4, random)

    def ask(self):
        return self._codes

    def tell(self, codes, fitness):
        codes[:] = 0


def test_a_breach_is_named():
    with pytest.raises(PluginError, match=r"tell\(\) before ask\(\) must be refused"):
        check_optimizer(_Forgetful)
