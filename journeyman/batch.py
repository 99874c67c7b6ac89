"""Lessons packed into tensors, with the whole step's denominators and the learner's forward outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from journeyman.types import Lesson


@dataclass(frozen=True)
class Totals:
    """Denominators of one term over the whole optimiser step, taken before the first backward.

    ``tokens`` trained tokens, ``sequences`` lessons (those without signal included), ``groups`` distinct groups.
    """

    tokens: float
    sequences: float
    groups: float

    @staticmethod
    def of(lessons: Sequence[Lesson]) -> Totals:
        tokens = sum(sum(x.train) for x in lessons)
        return Totals(float(tokens), float(len(lessons)), float(len({x.group for x in lessons})))


@dataclass(frozen=True)
class Batch:
    """A micro-batch. B lessons padded to T tokens; every (B, T) tensor is aligned with ``tokens``: ``out["logp"][b, t]``
    is the log-probability of ``tokens[b, t]`` given those before it. Padding has ``train`` false and zeros elsewhere."""

    tokens: Int[Tensor, "B T"]
    train: Bool[Tensor, "B T"]
    advantage: Float[Tensor, "B T"]
    weight: Float[Tensor, " B"]
    temperature: Float[Tensor, " B"]
    lengths: Int[Tensor, " B"]
    streams: Mapping[str, Float[Tensor, "B T"]]
    lessons: tuple[Lesson, ...]
    totals: Mapping[str, Totals] = field(default_factory=dict)
    out: Mapping[str, Tensor] = field(default_factory=dict)

    def with_out(self, out: Mapping[str, Tensor]) -> Batch:
        return replace(self, out=out)

    @property
    def logp(self) -> Float[Tensor, "B T"]:
        return self.out["logp"]


def collate(lessons: Sequence[Lesson], totals: Mapping[str, Totals], device: torch.device | str = "cpu") -> Batch:
    """Pad lessons to one batch. A stream (``behaviour_logp``, ``old_logp`` and those of ``streams``) is present when
    every lesson has it."""
    longest = max(len(x.tokens) for x in lessons)

    def pad(rows: Sequence[Sequence[float]], dtype: torch.dtype) -> Tensor:
        full = torch.zeros(len(rows), longest, dtype=dtype)
        for i, row in enumerate(rows):
            full[i, : len(row)] = torch.tensor(row, dtype=dtype)
        return full.to(device)

    per_lesson = [
        dict(x.streams)
        | ({} if x.behaviour_logp is None else {"behaviour_logp": x.behaviour_logp})
        | ({} if x.old_logp is None else {"old_logp": x.old_logp})
        for x in lessons
    ]
    shared = set.intersection(*(set(s) for s in per_lesson))
    return Batch(
        tokens=pad([x.tokens for x in lessons], torch.long),
        train=pad([x.train for x in lessons], torch.bool),
        advantage=pad([x.advantage for x in lessons], torch.float32),
        weight=torch.tensor([x.weight for x in lessons], dtype=torch.float32, device=device),
        temperature=torch.tensor([x.temperature for x in lessons], dtype=torch.float32, device=device),
        lengths=torch.tensor([len(x.tokens) for x in lessons], device=device),
        streams={name: pad([s[name] for s in per_lesson], torch.float32) for name in sorted(shared)},
        lessons=tuple(lessons),
        totals=dict(totals),
    )
