"""One source of tasks from several, in an order that anyone can repeat."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Sequence

from journeyman.protocols import Tasks
from journeyman.types import Task


class Mixture:
    """All tasks of several sources, each source in its own order, interleaved in proportion to their weights."""

    def __init__(self, sources: Sequence[Tasks], weights: Sequence[float]) -> None:
        self.sources = tuple(sources)
        self._of, self._at = array("I"), array("Q")
        due = [(1 / w, s) for s, w in enumerate(weights)]
        heapq.heapify(due)
        taken = [0] * len(sources)
        while due:  # the source that is furthest behind its share comes next, the earlier of equals
            _, s = heapq.heappop(due)
            self._of.append(s)
            self._at.append(taken[s])
            taken[s] += 1
            if taken[s] < len(sources[s]):
                heapq.heappush(due, ((taken[s] + 1) / weights[s], s))

    def __len__(self) -> int:
        return len(self._of)

    def __getitem__(self, index: int) -> Task:
        if not -len(self) <= index < len(self):
            raise IndexError(f"task {index} of {len(self)}")
        return self.sources[self._of[index]][self._at[index]]


def mix(sources: Sequence[Tasks], weights: Sequence[float] | None = None) -> Mixture:
    """Interleave sources: after n tasks, source s has given about n * weights[s] / sum(weights), while it lasts; equal by default.

    Every task of every source comes once; a source that ends leaves the rest to the others. Nothing is random. Raises ValueError
    for no sources, an empty source, and weights that are not one positive number for each source.
    """
    if not sources:
        raise ValueError("a mixture needs at least one source: found none")
    empty = [s for s, source in enumerate(sources) if not len(source)]
    if empty:
        raise ValueError(f"sources {empty} of the mixture have no tasks")
    shares = [1.0] * len(sources) if weights is None else list(weights)
    if len(shares) != len(sources) or min(shares) <= 0:
        raise ValueError(f"found weights {shares} for {len(sources)} sources; expected one positive number for each")
    return Mixture(sources, shares)
