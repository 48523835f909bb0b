"""Several encoders of the same sites that predict together, and are then an encoder like any other.

Members may differ in layer, scale, backbone or seed. Each member's prediction is z-scored, so that
all have the same say; their mean is mapped back to spikes/s.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.encoder import FLAT, DifferentiableEncoder, Scaling, TwoStageEncoder
from encoders.features import FeatureStore
from encoders.shared_features import SharedFeatures, passed_with
from protocols.errors import DataError
from protocols.vocabulary import Images, Rates

LEAST_GAIN = 0.05
"""Of a site's standard deviation: a site that cannot be predicted keeps a gradient."""


class EnsembleEncoder(nn.Module):
    """The mean of its members' z-scored predictions, in spikes/s.

    Args:
        members: Encoders of the same sites in the same order.
        predictions: One for each member: mean and standard deviation of each site's predictions.
        responses: From the members' mean z-score to spikes/s.

    Raises:
        DataError: If there are no members, or they predict different sites.
    """

    def __init__(
        self,
        members: Sequence[DifferentiableEncoder],
        predictions: Sequence[Scaling],
        responses: Scaling,
    ) -> None:
        super().__init__()
        _check_members(members, len(predictions))
        self.members = tuple(members)
        for number, member in enumerate(members):
            if isinstance(member, nn.Module):
                self.add_module(f"member{number}", member)
        self._shared = SharedFeatures(
            [each.extractor for each in members if isinstance(each, TwoStageEncoder)]
        )
        self.predictions = tuple(each.to(self.device) for each in predictions)
        self.responses = responses.to(self.device)
        self._parts = tuple(self._part(rows) for rows in _by_network(members))

    @classmethod
    def calibrated(
        cls,
        members: Sequence[DifferentiableEncoder],
        predicted: Sequence[Rates],
        measured: NDArray[np.float64],
    ) -> Self:
        """An ensemble that predicts the responses `measured` best in the least-squares sense.

        Args:
            members: Encoders of the same sites in the same order.
            predicted: One for each member, `(n_images, n_sites)`: its predictions, best for images
                that it was not fitted to.
            measured: `(n_images, n_sites)`, NaN where not measured.
        """
        _check_members(members, len(predicted))
        scales = [_scaling_of(each) for each in predicted]
        z = sum((p - s[0]) / s[1] for p, s in zip(predicted, scales, strict=True)) / len(scales)
        known = np.isfinite(measured)
        n = np.maximum(known.sum(axis=0), 1)
        y = np.where(known, measured, 0.0)
        y_mean, z_mean = y.sum(axis=0) / n, np.where(known, z, 0.0).sum(axis=0) / n
        y_off, z_off = np.where(known, y - y_mean, 0.0), np.where(known, z - z_mean, 0.0)
        slope = (y_off * z_off).sum(axis=0) / np.maximum((z_off**2).sum(axis=0), FLAT)
        gain = np.maximum(slope, LEAST_GAIN * np.sqrt((y_off**2).sum(axis=0) / n))
        return cls(
            members,
            [Scaling(_tensor(mean), _tensor(deviation)) for mean, deviation in scales],
            Scaling(_tensor(y_mean - gain * z_mean), _tensor(gain)),
        )

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Names of the predicted sites, in the order of the columns."""
        return self.members[0].site_ids

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.members[0].device

    def rates(self, pixels: Tensor) -> Tensor:
        """`(n, 3, h, w)` float RGB in 0..1 → `(n, n_sites)` spikes/s, differentiable in `pixels`."""
        return self._together(self._of(self.members, self._shared, pixels))

    @property
    def n_parts(self) -> int:
        """Networks that its members look through, each at each size: what can be climbed alone."""
        return len(self._parts)

    def rates_of_part(self, pixels: Tensor, number: int) -> Tensor:
        """`rates` of the members of one network alone: a part of the way, and of the cost.

        The mean over all parts, weighted by their members, is `rates`.

        Args:
            pixels: `(n, 3, h, w)` float RGB in 0..1.
            number: Which part, counted beyond `n_parts` from the first again.
        """
        return self._parts[number % len(self._parts)](pixels)

    def _part(self, rows: Sequence[int]) -> Callable[[Tensor], Tensor]:
        some = [self.members[row] for row in rows]
        scales = [self.predictions[row] for row in rows]
        shared = SharedFeatures([m.extractor for m in some if isinstance(m, TwoStageEncoder)])

        def rates(pixels: Tensor) -> Tensor:
            return self._mean(self._of(some, shared, pixels), scales)

        return rates

    @torch.no_grad()
    def predict(self, images: Images, store: FeatureStore | None = None) -> Rates:
        """`(n, h, w, 3) uint8` → `(n, n_sites)` spikes/s; features in `store` are not computed again."""
        each = [_tensor(m.predict(images, store)).to(self.device) for m in self.members]
        return self._together(each).cpu().numpy().astype(np.float64)

    @staticmethod
    def _of(
        members: Sequence[DifferentiableEncoder], shared: SharedFeatures, pixels: Tensor
    ) -> list[Tensor]:
        """Each member's rates; `shared` are the features of those that have any to share."""
        features = iter(shared(pixels))
        return [
            member.rates_from_features(next(features))
            if isinstance(member, TwoStageEncoder)
            else member.rates(pixels)
            for member in members
        ]

    def _together(self, rates: Sequence[Tensor]) -> Tensor:
        return self._mean(rates, self.predictions)

    def _mean(self, rates: Sequence[Tensor], scales: Sequence[Scaling]) -> Tensor:
        z = [(r - s.offset) / s.scale for r, s in zip(rates, scales, strict=True)]
        return self.responses.restored(torch.stack(z).mean(dim=0))


def _by_network(members: Sequence[DifferentiableEncoder]) -> list[list[int]]:
    """Rows of the members that share a pass through a network, and of each that shares none."""
    rows: dict[Hashable, list[int]] = {}
    for row, member in enumerate(members):
        key = passed_with(member.extractor) if isinstance(member, TwoStageEncoder) else row
        rows.setdefault(key, []).append(row)
    return list(rows.values())


def _check_members(members: Sequence[DifferentiableEncoder], n_predicted: int) -> None:
    if not members or len(members) != n_predicted:
        raise DataError(
            "an ensemble needs members, and the predictions of each",
            got=f"{len(members)} members, predictions of {n_predicted}",
        )
    if len({member.site_ids for member in members}) > 1:
        raise DataError("the members of an ensemble predict different sites", where="members")


def _scaling_of(predicted: Rates) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    deviation = predicted.std(axis=0)
    return predicted.mean(axis=0), np.where(deviation > FLAT, deviation, 1.0)


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
