"""Every installed image generator keeps the contract."""

import numpy as np
import pytest
import torch

from protocols import plugins
from protocols.conformance import check_generator
from protocols.errors import PluginError
from protocols.settings import PluginChoice

GROUP = "stimloop.generators"
OPTIONS = {"deepsim_fc6": {"weights": "random"}}
MAX_DIFFERENCE = {"deepsim_fc6": 1}
"""Gray levels: matrix products round differently in other batches."""


class _Decoder(torch.nn.Module):
    """A laboratory's own: 5 numbers → 16 px."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = torch.nn.Linear(5, 3 * 16 * 16)

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(code)).reshape(-1, 3, 16, 16)


@pytest.fixture
def options(tmp_path):
    """Name → what has no default."""
    path = tmp_path / "decoder.pt"
    torch.jit.script(_Decoder().eval()).save(str(path))
    return {**OPTIONS, "torch": {"path": str(path), "code_shape": [5]}}


@pytest.mark.parametrize("name", plugins.names(GROUP))
def test_generator_keeps_its_contract(name, options):
    generator = plugins.create(GROUP, PluginChoice(name=name, options=options.get(name, {})))
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
