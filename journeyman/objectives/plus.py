"""Sums of objectives over the same lessons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.protocols import Objective, Schedule, Words, value, words


@dataclass(frozen=True, init=False)
class plus:
    """loss = sum of the parts' losses over the same lessons: ``plus(surrogate(...), kl_penalty(0.04))``."""

    parts: tuple[Objective, ...]
    gives = words()

    def __init__(self, *parts: Objective) -> None:
        if not parts:
            raise ValueError("plus has no parts; write plus(surrogate(...), kl_penalty(0.04))")
        object.__setattr__(self, "parts", parts)

    @property
    def needs(self) -> Words:
        return words().union(*(p.needs for p in self.parts))

    @property
    def skips_zero(self) -> bool:
        return all(p.skips_zero for p in self.parts)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return added([part(batch) for part in self.parts])


@dataclass(frozen=True)
class weighted:
    """loss = weight * the objective's loss: ``mix(rl=surrogate(...), sft=weighted(nll(), 0.3))``. Metrics stay as they are."""

    objective: Objective
    weight: float | Schedule = 1.0
    gives = words()

    @property
    def needs(self) -> Words:
        return self.objective.needs

    @property
    def skips_zero(self) -> bool:
        return self.objective.skips_zero

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = self.objective(batch)
        return value(self.weight) * loss, metrics


def added(found: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses added; metrics added where the names are the same."""
    metrics: dict[str, Tensor] = {}
    for _, more in found:
        metrics |= {k: metrics[k] + v if k in metrics else v for k, v in more.items()}
    return torch.stack([loss for loss, _ in found]).sum(), metrics
