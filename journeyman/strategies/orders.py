"""Which of two ways a strategy goes, step by step: schedules of 0 and 1 for a field that a strategy reads."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from journeyman.protocols import words
from journeyman.types import Group


class lots:
    """A schedule: 1 with probability ``share``, else 0, drawn anew for each step of the run: ``guided(guide_first=lots(0.8))``.

    LOLS in [S170] Chang et al. 2023, arXiv 2306.11816 (0.8). A share of 1 or 0 is always the same way.
    """

    needs = words()
    gives = words()

    def __init__(self, share: float = 0.8, seed: int = 0) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"lots has share={share}, expected a number from 0 to 1")
        self.share, self.seed = share, seed
        self._seen = 0

    def observe(self, groups: Sequence[Group]) -> None:
        """One more step has been sampled."""
        self._seen += 1

    def value(self) -> float:
        return float(random.Random(f"lots/{self.seed}/{self._seen}").random() < self.share)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seen = state["seen"]


class after:
    """A schedule: 0 in the first ``steps`` steps of the run, 1 from then on: ``guided(guide_first=after(20))``.

    D2LOLS in [S170] Chang et al. 2023, arXiv 2306.11816 (20, 100 or 200, by task).
    """

    needs = words()
    gives = words()

    def __init__(self, steps: int) -> None:
        if steps < 0:
            raise ValueError(f"after has steps={steps}, expected at least 0")
        self.steps = steps
        self._seen = 0

    def observe(self, groups: Sequence[Group]) -> None:
        """One more step has been sampled."""
        self._seen += 1

    def value(self) -> float:
        return float(self._seen >= self.steps)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seen = state["seen"]
