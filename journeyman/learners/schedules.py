"""Learning-rate factors: functions of the optimiser steps taken so far (from 0), with linear warm-up."""

from __future__ import annotations

import math
from dataclasses import dataclass

from journeyman.protocols import words


@dataclass(frozen=True)
class constant:
    """min(1, (step + 1) / warmup), then 1."""

    warmup: int = 0
    needs = words()
    gives = words()

    def __call__(self, step: int) -> float:
        return warm(step, self.warmup)


@dataclass(frozen=True)
class linear:
    """Warm-up, then a straight line from 1 at step ``warmup`` to ``floor`` at step ``steps`` and after."""

    steps: int
    warmup: int = 0
    floor: float = 0.0
    needs = words()
    gives = words()

    def __post_init__(self) -> None:
        check_length("linear", self.steps, self.warmup)

    def __call__(self, step: int) -> float:
        return warm(step, self.warmup) * (1 - (1 - self.floor) * progress(step, self.steps, self.warmup))


@dataclass(frozen=True)
class cosine:
    """Warm-up, then half a cosine from 1 at step ``warmup`` to ``floor`` at step ``steps`` and after.

    Loshchilov and Hutter 2016, arXiv 1608.03983. Differs from the paper in having no restarts.
    """

    steps: int
    warmup: int = 0
    floor: float = 0.0
    needs = words()
    gives = words()

    def __post_init__(self) -> None:
        check_length("cosine", self.steps, self.warmup)

    def __call__(self, step: int) -> float:
        wave = (1 + math.cos(math.pi * progress(step, self.steps, self.warmup))) / 2
        return warm(step, self.warmup) * (self.floor + (1 - self.floor) * wave)


def warm(step: int, warmup: int) -> float:
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def progress(step: int, steps: int, warmup: int) -> float:
    """0 until the end of the warm-up, 1 from ``steps`` on."""
    return min(1.0, max(0.0, (step - warmup) / (steps - warmup)))


def check_length(part: str, steps: int, warmup: int) -> None:
    if not 0 <= warmup < steps:
        raise ValueError(f"{part} has steps={steps}, warmup={warmup}, expected 0 <= warmup < steps")
