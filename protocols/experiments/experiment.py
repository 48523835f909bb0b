"""An experiment: a settings model and the plan that it parametrises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from protocols.interfaces import Apparatus, Plan
from protocols.settings import Frozen

S = TypeVar("S", bound=Frozen)


@dataclass(frozen=True)
class Experiment(Generic[S]):
    """What an entry point of `stimloop.protocols` offers; call it to get a fresh plan."""

    name: str
    Settings: type[S]
    plan: Callable[[S, Apparatus], Plan]

    def __call__(self, settings: Any, apparatus: Apparatus) -> Plan:
        """A fresh plan; nothing runs until its first `next`."""
        return self.plan(settings, apparatus)


def experiment(
    model: type[S],
) -> Callable[[Callable[[S, Apparatus], Plan]], Experiment[S]]:
    """Turn a generator function `plan(settings, apparatus)` into an `Experiment`."""

    def wrap(plan: Callable[[S, Apparatus], Plan]) -> Experiment[S]:
        return Experiment(plan.__name__, model, plan)

    return wrap
