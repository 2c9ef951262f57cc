"""The processes of a run: each takes its share of the prompts, all take the same optimizer steps.

A run of one process has `Ranks()`, which gives back what it is given; nothing else in a step
depends on how many there are.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from resetrl.errors import ResetrlError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Ranks:
    """This process among the `num` of its run: `Ranks(1, 2)` is the second of two.

    `local` counts the processes of one machine. Every rank makes the same calls in the same
    order; they need torch's default process group, which several processes have.
    """

    rank: int = 0
    num: int = 1
    local: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this rank tells the observers and writes the files."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This rank's block of items that all ranks have; sizes differ by one at most.

        Example: of 5 items, two ranks get the first 3 and the last 2.
        """
        size, rest = divmod(len(items), self.num)
        start = self.rank * size + min(self.rank, rest)
        return items[start : start + size + (self.rank < rest)]

    def gather(self, item: Item) -> list[Item]:
        """Every rank's item, in the order of ranks, on all of them; pickled on the way."""
        if self.num == 1:
            return [item]
        from torch import distributed

        items: list[Item] = [item] * self.num
        distributed.all_gather_object(items, item)
        return items

    def join(self, items: Sequence[Item]) -> list[Item]:
        """The ranks' blocks of items as one list again."""
        return list(chain.from_iterable(self.gather(items)))

    def on_this_machine(self) -> tuple[int, ...]:
        """The ranks that run on the machine of this one, itself included, in their order."""
        hosts = self.gather(socket.gethostname())
        return tuple(rank for rank, host in enumerate(hosts) if host == hosts[self.rank])

    def total(self, count: int) -> int:
        """The sum of the ranks' counts."""
        return sum(self.gather(count))

    def on_first(self, act: Callable[[], Item]) -> Item:
        """What a call returns that only rank 0 makes, on all ranks; what it raises, all raise."""
        if self.num == 1:
            return act()
        from torch import distributed

        outcome: list[object] = [None, None]
        if self.is_first:
            try:
                outcome[0] = act()
            except (ResetrlError, OSError) as error:
                outcome[1] = error
        distributed.broadcast_object_list(outcome)
        if isinstance(outcome[1], Exception):
            raise outcome[1]
        return outcome[0]  # type: ignore[return-value]


ALONE = Ranks()
"""A run of one process."""
