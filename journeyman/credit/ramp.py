"""A field of a credit that moves along a straight line as a run goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from journeyman.protocols import words
from journeyman.types import Group


class ramp:
    """A schedule: (1 - p) * first + p * last, p = steps done / ``steps``, at most 1: ``down_sampled(tokens=ramp(0.2, 0.8, 100))``.

    [S200] Wang et al. 2025, arXiv 2509.22115 (D3S relaxes its selection so).
    """

    needs = words()
    gives = words()

    def __init__(self, first: float, last: float, steps: int) -> None:
        if steps < 1:
            raise ValueError(f"ramp has steps={steps}, expected at least 1")
        self.first, self.last, self.steps = first, last, steps
        self._seen = 0

    def observe(self, groups: Sequence[Group]) -> None:
        """One more step has been sampled."""
        self._seen += 1

    def value(self) -> float:
        # The run shows a step's groups before credit is asked for it, so the first step is the first seen.
        p = min(1.0, max(0, self._seen - 1) / self.steps)
        return (1 - p) * self.first + p * self.last

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seen = state["seen"]
