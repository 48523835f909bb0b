"""Diversity: a texture that is moved is the same texture."""

import numpy as np
import torch

from synth_server.synthesis.diversity import similarity
from synth_server.synthesis.photographs import load_photographs


def pixels(names: list[str]) -> torch.Tensor:
    loaded = load_photographs("embedded", None, 96)
    rows = [loaded.names.index(name) for name in names]
    return torch.from_numpy(loaded.images[rows].astype(np.float32) / 255).permute(0, 3, 1, 2)


def in_coarse_pixels(images: torch.Tensor) -> float:
    coarse = torch.nn.functional.adaptive_avg_pool2d(images, 16).flatten(1)
    return float(torch.corrcoef(coarse)[0, 1])


def test_a_moved_texture_is_alike_and_another_texture_is_not():
    grass = pixels(["grass"])
    moved = torch.cat([grass, grass.roll((24, 40), (2, 3))])
    other = pixels(["grass", "brick wall"])
    assert in_coarse_pixels(moved) < 0.3
    assert float(similarity(moved)[0]) > 0.8
    assert float(similarity(other)[0]) < float(similarity(moved)[0]) - 0.1


def test_it_is_alone_differentiable_and_in_its_range():
    three = pixels(["grass", "brick wall", "cat face"]).requires_grad_()
    found = similarity(three)
    (gradient,) = torch.autograd.grad(found.sum(), three)
    assert float(gradient.abs().sum()) > 0
    assert bool(((found >= -1) & (found <= 1)).all())
    assert similarity(three[:1]).tolist() == [0.0]
