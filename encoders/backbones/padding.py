"""Zeros around feature maps, as `torch.nn.functional.pad` puts them, in fewer passes over memory.

Torch fills the whole larger map with zeros before it copies the smaller one into it, and copies once
more on the way back. Here the border alone is filled, and the way back is a view.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def padded(x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """`(n, c, h, w)` → `(n, c, top + h + bottom, left + w + right)`; differentiable once."""
    result: Tensor = _Padding.apply(x, left, right, top, bottom)
    return result


class _Padding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
        n, c, height, width = x.shape
        ctx.inner = slice(top, top + height), slice(left, left + width)
        last = x.is_contiguous(memory_format=torch.channels_last)
        larger = torch.empty(
            (n, c, top + height + bottom, left + width + right),
            dtype=x.dtype,
            device=x.device,
            memory_format=torch.channels_last if last else torch.contiguous_format,
        )
        rows, columns = ctx.inner
        larger[:, :, rows, columns] = x
        for border in (slice(0, top), slice(top + height, None)):
            larger[:, :, border] = 0
        for border in (slice(0, left), slice(left + width, None)):
            larger[:, :, :, border] = 0
        return larger

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        rows, columns = ctx.inner
        return gradients[0][:, :, rows, columns], None, None, None, None
