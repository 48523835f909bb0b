"""What a running plan was told besides responses: it asks here where it can act on it."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING

from protocols.amendments import Amendment, DropSite, Finish, Retarget
from protocols.settings import ObjectiveChoice

if TYPE_CHECKING:
    from protocols.vocabulary import Block, BlockResponses


logger = logging.getLogger(__name__)


class Steering:
    """One thread's amendments so far; only responses bring new ones.

    Attributes:
        finishing: Whether the test, or what comes last, shall come next.
        dropped: Sites that no more images are made for, and that the encoder shall do without.
        objective: What an evolution maximises from now on; None: what its settings say.
    """

    def __init__(self) -> None:
        self.finishing = False
        self.dropped: tuple[str, ...] = ()
        self.objective: ObjectiveChoice | None = None
        self._aims: list[DropSite | Retarget] = []

    def take(self, amendments: Iterable[Amendment]) -> None:
        """Take in what came with responses."""
        for each in amendments:
            match each:
                case Finish():
                    self.finishing = True
                case DropSite() | Retarget():
                    self._aim(each)

    def _aim(self, amendment: DropSite | Retarget) -> None:
        self._aims.append(amendment)
        self.objective = amendment.objective
        if isinstance(amendment, DropSite):
            self.dropped = (*self.dropped, amendment.site)
        else:
            self.dropped = tuple(site for site in self.dropped if site not in amendment.sites)

    @property
    def n_aims(self) -> int:
        """Grows with every change of targets."""
        return len(self._aims)

    def targets(self, chosen: Sequence[str], able: Sequence[str]) -> tuple[str, ...]:
        """What became of the targets that a plan chose by itself; may be none.

        Args:
            chosen: By the plan.
            able: Sites that images can be made for. Of other targets, none of which can, nothing
                comes: the thread keeps those that it had.
        """
        targets = tuple(chosen)
        for each in self._aims:
            if isinstance(each, DropSite):
                targets = tuple(site for site in targets if site != each.site)
            elif found := tuple(site for site in each.sites if site in able):
                targets = found
            else:
                logger.warning(
                    "nothing can be made for %s: the targets stay %s",
                    ", ".join(each.sites),
                    ", ".join(targets),
                )
        return tuple(site for site in targets if site in able)

    def is_wanted(self, targets: Sequence[str]) -> bool:
        """Whether an image that was made for these sites is still to be shown."""
        return not targets or any(site not in self.dropped for site in targets)


def steered(
    plan: Generator[Block, BlockResponses, None], steering: Steering
) -> Generator[Block, BlockResponses, None]:
    """The same plan; before it hears responses, `steering` has what came with them."""
    block = next(plan, None)
    while block is not None:
        responses = yield block
        steering.take(responses.amendments)
        try:
            block = plan.send(responses)
        except StopIteration:
            return
