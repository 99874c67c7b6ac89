"""HisPO: tokens on which the learner and the sampler disagree are left out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import exp_difference, stream
from journeyman.protocols import words


@dataclass(frozen=True)
class agreement:
    """1 where |g - 1| < sequence and |d - 1| < token, else 0; d = exp(old_logp - behaviour_logp), g = the geometric mean of d
    over the answer's trained tokens.

    Old and behaviour are the same weights in two engines, so d is what the engines disagree by. A ``correction`` of
    ``surrogate``, for the clip must not see it. HisPO = surrogate(ppo_clip(low, high, dual), over_behaviour,
    fixed_length(n), correction=agreement()); the three bounds of the clip are the paper's triplet.

    [S217] LongCat-Flash-Prover, Wang et al. 2026, arXiv 2603.21065. The paper publishes no thresholds: the defaults are those
    of the method card's example.
    """

    sequence: float = 0.2
    token: float = 0.3
    needs = words("old_logp", "behaviour_logp")
    gives = words()

    def __post_init__(self) -> None:
        if not (self.sequence > 0 and self.token > 0):
            raise ValueError(f"agreement has sequence={self.sequence}, token={self.token}; expected numbers above 0")

    def __call__(self, batch: Batch) -> Tensor:
        d = exp_difference(stream(batch, "old_logp"), stream(batch, "behaviour_logp"))  # (B, T)
        length = batch.train.sum(1, keepdim=True).clamp(min=1)
        g = (torch.where(batch.train, d.log(), 0.0).sum(1, keepdim=True) / length).exp()  # (B, 1)
        return (((g - 1).abs() < self.sequence) & ((d - 1).abs() < self.token)).to(d.dtype)
