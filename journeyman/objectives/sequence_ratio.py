"""GSPO: a ratio of whole answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import Ratio
from journeyman.objectives.ratios import over_old
from journeyman.protocols import Words, needs_of, words


@dataclass(frozen=True)
class sequence_ratio:
    """GSPO: one ratio for a whole answer, s = exp(mean over its trained tokens of log of(token)), at each of its tokens.

    Zheng et al. 2025, arXiv 2507.18071. Use it with ``sequence_mean`` (the gradient of s is s / length at each token) and
    ``ppo_clip(3e-4, 4e-4)``: s is a geometric mean, and a range of 0.2 would never clip it.
    """

    of: Ratio = over_old
    gives = words()

    @property
    def needs(self) -> Words:
        return needs_of(self.of)

    def __call__(self, batch: Batch) -> Tensor:
        log_ratio = torch.where(batch.train, self.of(batch).log(), 0.0)
        length = batch.train.sum(1, keepdim=True).clamp(min=1)
        return (log_ratio.sum(1, keepdim=True) / length).exp().expand_as(log_ratio)
