"""Variants of natural images: a base image, and versions of it that differ in one known way.

What a variant is stands in its label, which is all that a log needs to pair it with its base: the kind, an
amount, the number of the base, and what the encoder predicted for variant and base.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from protocols.digests import image_id
from protocols.experiments.passes import StimulusSet
from protocols.vocabulary import Images, Role

BASE = re.compile(r"base (\d+)(?:: .*)?")
LABEL = re.compile(
    r"(?P<kind>[a-z]+) (?P<amount>[-+.e\d]+) of base (?P<base>\d+)"
    r"(?:, predicted (?P<predicted>[-+.e\d]+) from (?P<before>[-+.e\d]+), sd (?P<sd>[-+.e\d]+))?"
)


class Variant(NamedTuple):
    """What was done to a base.

    Attributes:
        kind: One word: `drive`, `suppress`, `random`; `kept`, `removed`, `disc`, `patch`.
        amount: How much: gray levels of RMS difference, or a share of the image's area.
        base: Its number.
        predicted: Rate predicted for the variant at its site, spikes/s; None for one of no site.
        before: The same of the base.
        sd: Of the rates predicted for all natural images.
    """

    kind: str
    amount: float
    base: int
    predicted: float | None = None
    before: float | None = None
    sd: float | None = None

    @property
    def label(self) -> str:
        """As it stands in a block."""
        text = f"{self.kind} {self.amount:g} of base {self.base}"
        if self.predicted is None or self.before is None or self.sd is None:
            return text
        return f"{text}, predicted {self.predicted:.6g} from {self.before:.6g}, sd {self.sd:.6g}"

    @classmethod
    def of_label(cls, label: str) -> Self | None:
        """What a label says; None if it is no variant's."""
        match = LABEL.fullmatch(label)
        if match is None:
            return None
        numbers = (match[name] for name in ("predicted", "before", "sd"))
        return cls(
            match["kind"],
            float(match["amount"]),
            int(match["base"]),
            *(None if number is None else float(number) for number in numbers),
        )


def base_label(number: int, name: str) -> str:
    """Of the base image itself."""
    return f"base {number}: {name}"


def base_number(label: str) -> int | None:
    """Of a base's label; None if it is none."""
    match = BASE.fullmatch(label)
    return None if match is None else int(match[1])


class VariantStimuli:
    """Collects bases and variants; of images that come out equal, the first stands for all.

    A variant that equals its base, or another one, is not shown twice: nothing could differ. If it is the
    same variant of the same base, made for another site (discs at one place), it is of both; predictions in
    its label are the first site's.
    """

    def __init__(self) -> None:
        self._images: dict[str, NDArray[np.uint8]] = {}
        self._about: dict[str, tuple[Role, str, tuple[str, ...]]] = {}
        self.n_equal = 0

    def add_base(self, number: int, image: NDArray[np.uint8], name: str) -> None:
        """Add a base `(h, w, 3) uint8`."""
        self._add(image, Role.NATURAL, base_label(number, name), ())

    def add(self, variant: Variant, image: NDArray[np.uint8], targets: Sequence[str]) -> None:
        """Add a variant `(h, w, 3) uint8` for its sites."""
        self._add(image, Role.CONTROL, variant.label, tuple(targets))

    def all(self) -> StimulusSet:
        """All of them, in the order in which they came."""
        images: Images = np.stack(list(self._images.values()))
        roles, labels, targets = zip(*self._about.values(), strict=True)
        return StimulusSet(images, tuple(roles), tuple(labels), tuple(targets))

    def _add(
        self, image: NDArray[np.uint8], role: Role, label: str, targets: tuple[str, ...]
    ) -> None:
        key = image_id(image)
        if key in self._images:
            self.n_equal += 1
            known_role, known, sites = self._about[key]
            if role is known_role and _is_same(known, label):
                more = tuple(site for site in targets if site not in sites)
                self._about[key] = (role, known, (*sites, *more))
            return
        self._images[key] = image
        self._about[key] = (role, label, targets)


def _is_same(label: str, other: str) -> bool:
    """Whether both are of the same variant, but for the site."""
    one, two = Variant.of_label(label), Variant.of_label(other)
    return one is not None and two is not None and one[:3] == two[:3]
