"""Sums of objectives, each over its own lessons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.plus import added
from journeyman.protocols import Objective, Words, words


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
