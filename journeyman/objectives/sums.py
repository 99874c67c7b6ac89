"""Sums of objectives: over the same lessons (``plus``) or each over its own (``mix``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True, init=False)
class mix:
    """loss = sum over terms of the term's loss over the lessons tagged for it (``Lesson.term``), each with its own
    whole-step denominators: ``mix(rl=surrogate(...), sft=nll())``. Metrics are named ``TERM/NAME``.

    A lesson of a term that is not here is an error, not ignored.
    """

    terms: tuple[tuple[str, Objective], ...]
    gives = words()

    def __init__(self, **terms: Objective) -> None:
        if not terms:
            raise ValueError("mix has no terms; write mix(rl=surrogate(...), sft=nll())")
        object.__setattr__(self, "terms", tuple(terms.items()))

    @property
    def needs(self) -> Words:
        return words(*(f"term.{name}" for name, _ in self.terms)).union(*(part.needs for _, part in self.terms))

    @property
    def skips_zero(self) -> bool:
        return all(part.skips_zero for _, part in self.terms)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        found: list[tuple[Tensor, dict[str, Tensor]]] = []
        for name in sorted({x.term for x in batch.lessons}):
            rows = [i for i, x in enumerate(batch.lessons) if x.term == name]
            own = replace(only(batch, rows), totals={name: batch.totals[name]})
            loss, metrics = part_for(self, name)(own)
            found.append((loss, {f"{name}/{k}": v for k, v in metrics.items()}))
        return added(found)


def part_for(objective: Objective, term: str) -> Objective:
    """What reads the lessons of a term: that part of a ``mix``, and any other objective itself."""
    if not isinstance(objective, mix):
        return objective
    parts = dict(objective.terms)
    if term not in parts:
        raise ValueError(f"a lesson is tagged {term!r}, but mix has the terms {', '.join(parts)}; write mix({term}=..., ...)")
    return parts[term]


def added(found: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Losses added; metrics added where the names are the same."""
    metrics: dict[str, Tensor] = {}
    for _, more in found:
        metrics |= {k: metrics[k] + v if k in metrics else v for k, v in more.items()}
    return torch.stack([loss for loss, _ in found]).sum(), metrics


def only(batch: Batch, rows: Sequence[int]) -> Batch:
    """The batch of some of its rows."""
    if len(rows) == len(batch.lessons):
        return batch
    at = torch.tensor(rows, device=batch.tokens.device)
    return Batch(
        tokens=batch.tokens[at],
        train=batch.train[at],
        advantage=batch.advantage[at],
        weight=batch.weight[at],
        temperature=batch.temperature[at],
        lengths=batch.lengths[at],
        streams={k: v[at] for k, v in batch.streams.items()},
        lessons=tuple(batch.lessons[i] for i in rows),
        totals=batch.totals,
        out={k: v[at] if v.dim() else v for k, v in batch.out.items()},
    )
