"""An experiment: a settings model and the plan that it parametrises."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from protocols.interfaces import Apparatus, Plan
from protocols.settings import Frozen
from protocols.steering import steered

S = TypeVar("S", bound=Frozen)


@dataclass(frozen=True)
class Experiment(Generic[S]):
    """What an entry point of `stimloop.protocols` offers; call it to get a fresh plan.

    Attributes:
        steers: Kinds of `protocols.amendments` that the plan acts on; others are refused when somebody
            asks for them. `place` says that the thread's images may be shown elsewhere.
    """

    name: str
    Settings: type[S]
    plan: Callable[[S, Apparatus], Plan]
    steers: frozenset[str] = frozenset({"place"})

    def __call__(self, settings: Any, apparatus: Apparatus) -> Plan:
        """A fresh plan; nothing runs until its first `next`."""
        return steered(self.plan(settings, apparatus), apparatus.steering)


def experiment(
    model: type[S], steers: Iterable[str] = ("place",)
) -> Callable[[Callable[[S, Apparatus], Plan]], Experiment[S]]:
    """Turn a generator function `plan(settings, apparatus)` into an `Experiment`.

    Args:
        model: Its settings.
        steers: See `Experiment`; the plan asks `apparatus.steering`.
    """

    def wrap(plan: Callable[[S, Apparatus], Plan]) -> Experiment[S]:
        return Experiment(plan.__name__, model, plan, frozenset(steers))

    return wrap
