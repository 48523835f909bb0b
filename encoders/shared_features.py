"""Features at several taps of the same images, without computing anything twice.

Taps that see images of one size in one convention share the images' preparation; those of one
network share the pass through it, as far as the earlier of them goes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from torch import Tensor, nn

from encoders.features import FeatureExtractor, as_map


class SharedFeatures:
    """What each of `extractors` would give alone, up to the last bits of its gradient.

    Args:
        extractors: In any order; the same one may come twice.
    """

    def __init__(self, extractors: Sequence[FeatureExtractor]) -> None:
        self._extractors = tuple(extractors)
        self._rows: dict[Hashable, dict[Hashable, list[int]]] = {}
        for row, extractor in enumerate(self._extractors):
            by_network = self._rows.setdefault(_preparation(extractor), {})
            by_network.setdefault(_network(extractor), []).append(row)

    def __call__(self, pixels: Tensor) -> list[Tensor]:
        """`(n, 3, h, w)` float RGB in 0..1 → `(n, c, h', w')` of each extractor, in their order."""
        found: dict[int, Tensor] = {}
        for by_network in self._rows.values():
            first = next(iter(by_network.values()))[0]
            prepared = self._extractors[first].prepared(pixels)
            for rows in by_network.values():
                found |= self._passed(rows, prepared)
        return [as_map(found[row]) for row in range(len(self._extractors))]

    def _passed(self, rows: list[int], prepared: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Once through the longest network of `rows`; each row's features where its own ends."""
        networks = {row: self._extractors[row].backbone.network for row in rows}
        chains = {row: each for row, each in networks.items() if isinstance(each, nn.Sequential)}
        if len(rows) == 1 or len(chains) < len(rows):
            features = networks[rows[0]](prepared)
            yield from ((row, features) for row in rows)
            return
        longest = max(rows, key=lambda row: len(chains[row]))
        features = prepared
        for length, part in enumerate(chains[longest], start=1):
            features = part(features)
            yield from ((row, features) for row, chain in chains.items() if len(chain) == length)


def passed_with(extractor: FeatureExtractor) -> Hashable:
    """The same for extractors that share a pass through one network."""
    return _preparation(extractor), _network(extractor)


def _preparation(extractor: FeatureExtractor) -> Hashable:
    """The same for extractors whose networks are given the same, and leave it as it is."""
    backbone = extractor.backbone
    if not backbone.is_chain:
        return extractor.digest
    return extractor.tap.grayscale, backbone.preprocessing, backbone.device


def _network(extractor: FeatureExtractor) -> Hashable:
    """The same for extractors whose networks are parts of one."""
    backbone = extractor.backbone
    return (backbone.name, backbone.weights_digest) if backbone.is_chain else extractor.digest
