"""Every installed image generator keeps the contract."""

import numpy as np
import pytest

from protocols import plugins
from protocols.conformance import check_generator
from protocols.errors import PluginError
from protocols.settings import PluginChoice

GROUP = "stimloop.generators"
OPTIONS = {"deepsim_fc6": {"weights": "random"}}
MAX_DIFFERENCE = {"deepsim_fc6": 1}
"""Gray levels: matrix products round differently in other batches."""


@pytest.mark.parametrize("name", plugins.names(GROUP))
def test_generator_keeps_its_contract(name):
    generator = plugins.create(GROUP, PluginChoice(name=name, options=OPTIONS.get(name, {})))
    check_generator(generator, max_difference=MAX_DIFFERENCE.get(name, 0))


class _Contagious:
    """Breaks the contract: every image depends on the whole batch."""

    code_dim = 4
    image_size_px = 8
    digest = "0" * 64

    def sample_codes(self, n, random):
        return random.standard_normal((n, 4), dtype=np.float32)

    def __call__(self, codes):
        level = int(abs(codes.sum()) * 10) % 256
        return np.full((len(codes), 8, 8, 3), level, np.uint8)


def test_a_breach_is_named():
    with pytest.raises(PluginError, match="must not depend on the other codes"):
        check_generator(_Contagious())


class _Forgetful(_Contagious):
    """Breaks the contract: whatever is inverted, the code is the same."""

    def __call__(self, codes):
        levels = np.abs(codes[:, 0] * 50).astype(np.uint8)
        return np.tile(levels[:, None, None, None], (1, 8, 8, 3))

    def invert(self, images):
        return np.ones((len(images), 4), np.float32)


def test_an_inversion_that_finds_nothing_is_named():
    with pytest.raises(PluginError, match="nearer to its image"):
        check_generator(_Forgetful())
