"""The conductor: takes blocks from the plans in rotation, and brings each its responses.

Pure logic: no log, no sockets, no clock. With two or more threads, one thread's next block is
computed while the rig shows another's; the order of blocks depends on settings and responses only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocols.amendments import AddThread, Amendment, Place
from protocols.errors import ResponsesRefused
from protocols.interfaces import Plan
from protocols.vocabulary import Block, BlockResponses, Placement


class Conductor:
    """Drives the plans of one session.

    Args:
        plans: Thread name → fresh plan, in the order of rotation. Their first blocks are computed
            at once.
        places: Thread name → where its images are shown that have no place of their own.
    """

    def __init__(
        self, plans: Mapping[str, Plan], places: Mapping[str, Placement] | None = None
    ) -> None:
        self._plans = dict(plans)
        self._places = dict(places or {})
        self._names: dict[int, dict[str, str]] = {}
        self._rotation = list(plans)
        self._in_turn = 0
        self._waiting: dict[str, Block] = {}
        self._outstanding: dict[int, Block] = {}
        self._prepared: dict[str, tuple[Plan, Block | None, Placement | None]] = {}
        self._amendments: dict[str, list[Amendment]] = {}
        self.n_proposed = 0
        for name, plan in plans.items():
            self._keep(name, next(plan, None))

    @property
    def exhausted(self) -> bool:
        """Whether no plan will propose anything any more."""
        return not self._rotation

    @property
    def live(self) -> tuple[str, ...]:
        """Threads that will propose more, as far as is known."""
        return tuple(self._rotation)

    @property
    def outstanding(self) -> Mapping[int, Block]:
        """Blocks that await their responses, by index."""
        return self._outstanding

    def propose(self) -> Block | None:
        """The next block of the thread in turn; None while that thread awaits responses."""
        if not self._rotation:
            return None
        name = self._rotation[self._in_turn]
        if name not in self._waiting:
            return None
        own = self._waiting.pop(name).at(self.n_proposed, name)
        block = own.placed(self._places.get(name))
        self._names[block.index] = dict(zip(block.stimulus_ids, own.stimulus_ids, strict=True))
        self._outstanding[block.index] = block
        self.n_proposed += 1
        self._in_turn = (self._in_turn + 1) % len(self._rotation)
        return block

    def prepare(self, name: str, plan: Plan, place: Placement | None = None) -> Block | None:
        """Compute the first block of a thread that is to be added; an `AddThread` adds it."""
        first = next(plan, None)
        self._prepared[name] = (plan, first, place)
        return first

    def accept(self, responses: BlockResponses, amendments: Sequence[Amendment] = ()) -> None:
        """Send responses into the plan that asked for them; it computes its next block.

        The plan hears of its stimuli by the ids that it gave them, without its thread's place, and
        with the responses of what people told it.

        Args:
            responses: To a block that was proposed.
            amendments: Of any thread, in the order in which they came since the last responses.

        Raises:
            ResponsesRefused: If no block of that index awaits responses.
        """
        if responses.block_index not in self._outstanding:
            raise ResponsesRefused(
                "no block of this index awaits responses",
                expected=sorted(self._outstanding),
                got=responses.block_index,
            )
        for each in amendments:
            self._amend(each)
        name = self._outstanding.pop(responses.block_index).thread
        told = self._amendments.pop(name, [])
        for each in told:
            if isinstance(each, Place):
                self._places[name] = each.place
        known = responses.renamed(self._names.pop(responses.block_index)).with_amendments(told)
        try:
            self._keep(name, self._plans[name].send(known))
        except StopIteration:
            self._keep(name, None)

    def _amend(self, amendment: Amendment) -> None:
        if not isinstance(amendment, AddThread):
            self._amendments.setdefault(amendment.thread, []).append(amendment)
            return
        name = amendment.thread
        plan, first, place = self._prepared.pop(name)
        if first is None:
            return
        self._plans[name] = plan
        self._rotation.append(name)
        self._waiting[name] = first
        if place is not None:
            self._places[name] = place

    def _keep(self, name: str, block: Block | None) -> None:
        if block is not None:
            self._waiting[name] = block
            return
        place = self._rotation.index(name)
        self._rotation.remove(name)
        if place < self._in_turn:
            self._in_turn -= 1
        self._in_turn = self._in_turn % len(self._rotation) if self._rotation else 0
