"""Every task as often as every other."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from journeyman.protocols import Tasks, words
from journeyman.types import Assignment, Group


class Deck:
    """The numbers 0 to n - 1 in a new order each epoch. The order derives from seed and epoch, so a place in it is enough
    to come back to."""

    def __init__(self, n: int, seed: str) -> None:
        self.n, self.seed = n, seed
        self.epoch, self.position = 0, 0
        self._order: tuple[int, list[int]] | None = None

    def draw(self) -> int:
        """The next number."""
        if self.position == self.n:
            self.epoch, self.position = self.epoch + 1, 0
        if self._order is None or self._order[0] != self.epoch:
            self._order = self.epoch, random.Random(f"{self.seed}/{self.epoch}").sample(range(self.n), self.n)
        self.position += 1
        return self._order[1][self.position - 1]

    def state(self) -> list[int]:
        return [self.epoch, self.position]

    def load(self, state: Sequence[int]) -> None:
        epoch, position = state
        if not 0 <= position <= self.n:
            raise ValueError(f"the curriculum was saved at task {position} of an epoch, but there are {self.n} tasks")
        self.epoch, self.position = epoch, position


class uniform:
    """Tasks without replacement, in a new order each epoch; everything is admitted."""

    needs = words()

    def __init__(self, tasks: Tasks, siblings: int = 8, seed: int = 0) -> None:
        checked(tasks, siblings, "uniform")
        self.tasks, self.siblings = tasks, siblings
        self.gives = words("siblings") if siblings > 1 else words()
        self._deck = Deck(len(tasks), f"uniform/{seed}")

    def pick(self, n: int) -> list[Assignment]:
        return [Assignment(self.tasks[self._deck.draw()], self.siblings) for _ in range(n)]

    def observe(self, groups: Sequence[Group]) -> None:
        """What happened changes nothing here."""

    def admit(self, group: Group) -> bool:
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"place": self._deck.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._deck.load(state["place"])


def checked(tasks: Tasks, siblings: int, part: str) -> None:
    """Refuse no tasks and no siblings."""
    if len(tasks) < 1 or siblings < 1:
        raise ValueError(f"{part} has {len(tasks)} tasks and siblings={siblings}, expected at least one of each")
