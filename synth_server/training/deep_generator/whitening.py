"""The basis of the codes: principal components of features over photographs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from synth_server.synthesis.generators.decoder import LAYER, WhitenedBasis
from synth_server.training.features import FeatureStack
from synth_server.training.photographs import Photographs

BATCH = (8, 24)
"""Sharp and small photographs."""


@torch.no_grad()
def whitened_basis(
    photographs: Photographs,
    stack: FeatureStack,
    code_dim: int,
    n_photographs: int,
    random: np.random.Generator,
) -> WhitenedBasis:
    """The first `code_dim` components over `n_photographs` crops."""
    batches = [
        stack(photographs.batch(*BATCH, random))[LAYER].float()
        for _ in range(n_photographs // sum(BATCH))
    ]
    features = torch.cat(batches)
    scale = features.std((0, 2, 3))
    standard = (features / scale[:, None, None]).flatten(1)
    mean = standard.mean(0)
    centred = standard - mean
    directions, variances = _principal(centred, code_dim)
    basis = WhitenedBasis(code_dim)
    basis.mean.copy_(mean)
    basis.scale.copy_(scale)
    basis.directions.copy_(directions)
    basis.deviations.copy_(variances.sqrt())
    return basis


def _principal(centred: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The first `n` principal directions `(n, n_features)` and the variances along them `(n,)`."""
    n_samples, n_features = centred.shape
    if n_samples < n_features:
        _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
        return directions[:n], singular[:n] ** 2 / (n_samples - 1)
    variances, vectors = torch.linalg.eigh(centred.T @ centred / (n_samples - 1))
    return vectors.T.flip(0)[:n], variances.flip(0)[:n]
