"""From easy to hard by the tasks' own levels."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from journeyman.curricula.accuracy import accuracy
from journeyman.curricula.uniform import Deck, checked
from journeyman.protocols import Tasks, words
from journeyman.types import Assignment, Group


class levels:
    """Starts at the lowest ``Task.level`` there is and goes up one when the mean accuracy of the last ``window`` groups of
    the current level is at least ``up``; a share ``easier`` of the tasks comes from the levels below, each as likely.

    A group in which nothing was checked does not count. Never goes down.
    """

    needs = words("score")

    def __init__(self, tasks: Tasks, siblings: int = 8, up: float = 0.8, window: int = 64, easier: float = 0.2, seed: int = 0):
        checked(tasks, siblings, "levels")
        if not (0 < up <= 1 and window >= 1 and 0 <= easier < 1):
            found = f"up={up}, window={window}, easier={easier}"
            raise ValueError(f"levels has {found}; expected 0 < up <= 1 <= window and 0 <= easier < 1")
        self.tasks, self.siblings, self.up, self.window, self.easier, self.seed = tasks, siblings, up, window, easier, seed
        self.gives = words("siblings") if siblings > 1 else words()
        places: dict[int, list[int]] = {}
        for i in range(len(tasks)):
            places.setdefault(tasks[i].level, []).append(i)
        self.known = sorted(places)
        self._places = [places[level] for level in self.known]
        self._decks = [Deck(len(p), f"levels/{seed}/{level}") for p, level in zip(self._places, self.known, strict=True)]
        self._at, self._draws = 0, 0
        self._recent: list[float] = []

    @property
    def level(self) -> int:
        """The current level."""
        return self.known[self._at]

    def pick(self, n: int) -> list[Assignment]:
        return [self._one() for _ in range(n)]

    def _one(self) -> Assignment:
        rng = random.Random(f"levels/{self.seed}/draw/{self._draws}")
        self._draws += 1
        at = rng.randrange(self._at) if self._at and rng.random() < self.easier else self._at
        return Assignment(self.tasks[self._places[at][self._decks[at].draw()]], self.siblings)

    def observe(self, groups: Sequence[Group]) -> None:
        for group in groups:
            found = accuracy(group)
            if group.task.level == self.level and found is not None:
                self._recent = [*self._recent, found][-self.window :]
        if len(self._recent) == self.window and sum(self._recent) / self.window >= self.up and self._at + 1 < len(self.known):
            self._at += 1
            self._recent = []

    def admit(self, group: Group) -> bool:
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"at": self._at, "draws": self._draws, "recent": self._recent, "places": [d.state() for d in self._decks]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if len(state["places"]) != len(self._decks):
            raise ValueError(f"the curriculum was saved with {len(state['places'])} levels, but the tasks have {len(self._decks)}")
        self._at, self._draws, self._recent = state["at"], state["draws"], list(state["recent"])
        for deck, place in zip(self._decks, state["places"], strict=True):
            deck.load(place)
