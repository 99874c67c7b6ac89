"""A learner that pays answers for being unlike their siblings, by the hidden states of the model it began with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.batch import collate
from journeyman.credit.novelty import Vectors, elliptical, projected
from journeyman.credit.rules import Scores, zscores
from journeyman.learners.gradient import Gradient
from journeyman.learners.packing import micro_batches
from journeyman.protocols import Objective, Trainable, Words, words
from journeyman.types import Lesson


@dataclass(eq=False)
class exploring:
    """Gives each lesson advantage = rule(R + bonus * novelty)[i] over the lessons of its group, R the sum of its stream ``reward``,
    novelty = novelty(h) of the siblings' mean hidden states; the inner learner does the rest.

    h_i is the mean over the tokens to be learned of the last hidden state under the weights that the run began with, times a
    sparse random matrix to ``width`` dimensions, drawn anew in each update. Groups in which no R reaches ``solved`` have no
    bonus (None: all have it), for it would pay for strange wrong answers. Lessons without ``reward`` stay as they are.

    RepExp [S121], Tuyls et al. 2025, arXiv 2510.11686 (bonus 0.01, 32 dimensions, 128 for harder tasks). The default ``novelty``
    is the paper's formula; its released run has ``elliptical(apart=True, centred=True)``, a new projection at each step and
    ``solved`` 1, which the formula lacks. Metric ``novelty``: its mean over the answers that it was computed for.
    """

    inner: Gradient
    bonus: float = 0.01
    novelty: Callable[[Vectors], NDArray[np.float64]] = elliptical()
    width: int = 32
    solved: float | None = 1.0
    rule: Callable[[Scores], Scores] = zscores
    gives = words("old_logp", "ref_logp", "advantage")

    def __post_init__(self) -> None:
        if not self.bonus >= 0 or self.width < 1:
            raise ValueError(f"exploring has bonus={self.bonus}, width={self.width}; expected a bonus of at least 0, a width >= 1")
        self._start: Trainable | None = None

    @property
    def needs(self) -> Words:
        return (self.inner.needs - words("advantage")) | words("reward", "siblings", "forward.hidden")

    @property
    def objective(self) -> Objective:
        return self.inner.objective

    def prepare(self, policy: Trainable) -> None:
        """Keep a copy of the weights as the run starts, and prepare the inner learner."""
        self._start = policy.frozen()
        self.inner.prepare(policy)

    def update(self, policy: Trainable, lessons: Sequence[Lesson]) -> dict[str, float]:
        if self._start is None:
            self.prepare(policy)
        groups: dict[str, list[int]] = {}
        for i, x in enumerate(lessons):
            if "reward" in x.streams and any(x.train):
                groups.setdefault(x.group, []).append(i)
        rewards = {i: sum(lessons[i].streams["reward"]) for own in groups.values() for i in own}
        paid = [own for own in groups.values() if self.solved is None or max(rewards[i] for i in own) >= self.solved]
        extra = self._novelties(policy, lessons, paid)
        new = list(lessons)
        for own in groups.values():
            total = np.array([rewards[i] + self.bonus * extra.get(i, 0.0) for i in own], dtype=np.float64)
            for i, a in zip(own, self.rule(total).tolist() if len(own) > 1 else [0.0], strict=True):
                new[i] = replace(new[i], advantage=tuple(a * t for t in new[i].train))
        mean = {"novelty": float(np.mean(list(extra.values())))} if extra else {}
        return self.inner.update(policy, new) | mean

    def _novelties(self, policy: Trainable, lessons: Sequence[Lesson], groups: Sequence[Sequence[int]]) -> dict[int, float]:
        """Novelty of each lesson of these groups, by its number."""
        assert self._start is not None
        at = sorted(i for own in groups for i in own)
        device = next(w for _, w in policy.trained()).device
        h = dict(zip(at, means(self._start, [lessons[i] for i in at], self.inner.micro_tokens, device), strict=True))
        seed = f"{self.inner.seed}/novelty/{self.inner.rounds}"
        found: dict[int, float] = {}
        for own in groups:
            found |= zip(own, self.novelty(projected(np.stack([h[i] for i in own]), self.width, seed)).tolist(), strict=True)
        return found

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state)

    def tensors(self) -> dict[str, Tensor]:
        return self.inner.tensors()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        self.inner.load_tensors(tensors)


@torch.no_grad()
def means(policy: Trainable, lessons: Sequence[Lesson], micro_tokens: int, device: torch.device) -> list[NDArray[np.float64]]:
    """Mean hidden state (D) over the tokens of each lesson that are learned."""
    found: list[NDArray[np.float64]] = [np.zeros(0)] * len(lessons)
    for rows in micro_batches(lessons, micro_tokens):
        batch = collate([lessons[i] for i in rows], {}, device)
        hidden = policy.forward(batch, words("forward.hidden"))["hidden"].double()
        on = batch.train.double()
        mean = torch.einsum("btd,bt->bd", hidden, on) / on.sum(1, keepdim=True)
        for i, row in zip(rows, mean.cpu().numpy(), strict=True):
            found[i] = row
    return found
