"""SIRI: the length budget of answers breathes in and out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from journeyman.protocols import words
from journeyman.types import Group

Wave = Callable[[float], float]  # phase in [0, 2 pi) -> -1 (shortest) to 1 (longest)


def stair(phase: float) -> float:
    """The shortest for half a period, then the longest."""
    return -1.0 if phase < math.pi else 1.0


def stair_cosine(phase: float) -> float:
    """Flat for a quarter of a period at either end, half a cosine between them."""
    if math.pi / 4 <= phase < 3 * math.pi / 4:
        return math.cos(2 * (phase - math.pi / 4))
    if 5 * math.pi / 4 <= phase < 7 * math.pi / 4:
        return math.cos(2 * (phase - 3 * math.pi / 4))
    return -1.0 if 3 * math.pi / 4 <= phase < 5 * math.pi / 4 else 1.0


class length_cycle:
    """A schedule: (longest + shortest) / 2 + (longest - shortest) / 2 * wave(2 pi * steps done / period), in tokens.

    [S081] Wen et al. 2025, arXiv 2509.25176: 16384 and 8192 tokens, a period of 640 steps, cosine. Accuracy is said to rise
    from trough to trough, with the length of answers some 100 to 200 steps behind.
    """

    needs = words()
    gives = words()

    def __init__(self, longest: int = 16384, shortest: int = 8192, period: int = 640, wave: Wave = math.cos) -> None:
        if not 1 <= shortest <= longest or period < 1:
            raise ValueError(
                f"length_cycle has longest={longest}, shortest={shortest}, period={period}; expected 1 <= shortest <= longest "
                "and a period of at least 1"
            )
        self.longest, self.shortest, self.period, self.wave = longest, shortest, period, wave
        self._seen = 0

    def observe(self, groups: Sequence[Group]) -> None:
        """One more step has been sampled."""
        self._seen += 1

    def value(self) -> float:
        return self.at(max(0, self._seen - 1))  # a step's groups are shown before credit is asked for it

    def at(self, step: int) -> float:
        """The budget of a step, counted from 0."""
        height = self.wave(2 * math.pi * (step % self.period) / self.period)
        return (self.longest + self.shortest) / 2 + (self.longest - self.shortest) / 2 * height

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seen = state["seen"]
