"""LUFFY: the ratio of tokens that somebody else wrote."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import Ratio, stream
from journeyman.objectives.ratios import over_old, probability
from journeyman.protocols import Words, needs_of, words


@dataclass(frozen=True)
class demonstrated:
    """Where the stream ``off_policy`` is 1: p * f'(p) = gamma * p / (p + gamma)^2, p = exp(logp), f(p) = p / (p + gamma);
    elsewhere the ratio ``on``.

    LUFFY, Yan et al. 2025, arXiv 2504.14945 (gamma 0.1, no clip, ``fixed_length``): the demonstrator's probability is taken
    to be 1, and f gives the rare tokens of a demonstration the larger step (the largest at p = gamma). Critique-GRPO
    uses the same shaping on refinements. ``with_demonstration`` gives the stream. Differs from the paper in nothing known.
    """

    gamma: float = 0.1
    on: Ratio = over_old
    gives = words()

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ValueError(f"demonstrated has gamma={self.gamma}, expected a number above 0")

    @property
    def needs(self) -> Words:
        return words("off_policy") | needs_of(self.on)

    def __call__(self, batch: Batch) -> Tensor:
        p = probability(batch)
        return torch.where(stream(batch, "off_policy") == 1, self.gamma * p / (p + self.gamma).square(), self.on(batch))
