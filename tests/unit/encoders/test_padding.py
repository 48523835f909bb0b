"""Borders of zeros: what torch's own padding gives, there and back."""

import pytest
import torch
from torch.nn import functional

from encoders.backbones.padding import padded


@pytest.mark.parametrize("borders", [(0, 1, 0, 1), (1, 2, 1, 2), (2, 0, 0, 3), (0, 0, 0, 0)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_is_torchs_padding_there_and_back(borders, layout):
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 4, generator=stream).contiguous(memory_format=layout)
    mine, theirs = (x.clone().requires_grad_() for _ in range(2))
    one, other = padded(mine, *borders), functional.pad(theirs, borders)
    assert torch.equal(one, other)
    assert one.is_contiguous(memory_format=layout)
    weights = torch.randn(other.shape, generator=stream)
    (gradient,) = torch.autograd.grad((one * weights).sum(), mine)
    (expected,) = torch.autograd.grad((other * weights).sum(), theirs)
    assert torch.equal(gradient, expected)
