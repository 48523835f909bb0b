"""A network that loses, repeats, delays and reorders messages changes nothing but the duration."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.end_to_end.processes import Lab, Recipe, check_finished
from tests.end_to_end.proxies import BadNetwork, Proxy

RECIPE = Recipe(seed=21, generations=8, real_clock=False)
MISDEEDS = {
    f"{what} {where}"
    for what in ("dropped", "repeated", "delayed")
    for where in ("to the server", "to the rig")
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_bad_network_changes_nothing(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str], seed: int
) -> None:
    """Delays reach beyond the time after which the rig asks again."""
    lab = new_lab(RECIPE, server_options=())
    server = lab.serve()
    network = BadNetwork(seed, drop=0.15, repeat=0.2, delay=0.3, most_s=0.3)
    proxy = Proxy(lab.addresses["work"], network)
    proxy.start()
    try:
        rig = lab.rig(server=proxy.address, resend_s=0.2)
        assert rig.ended() == 0, rig.output
    finally:
        proxy.close()
    assert server.stop() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))
    assert set(network.done) == MISDEEDS, "this network was not bad enough"
