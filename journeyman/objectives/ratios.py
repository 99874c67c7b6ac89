"""Ratios (B, T): what the policy's probability of a token is divided by. All are detached and at least float32."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import Ratio, exp_difference, stream, trained_logp
from journeyman.protocols import Words, declare, needs_of, words


@declare()
def on_policy(batch: Batch) -> Tensor:
    """1: REINFORCE and SFT, where the policy's probability is divided by itself."""
    return torch.ones_like(exp_difference(batch.logp, batch.logp))


@declare(needs=("old_logp",))
def over_old(batch: Batch) -> Tensor:
    """exp(logp - old_logp): over the learner's own policy when the lessons came in."""
    return exp_difference(trained_logp(batch), stream(batch, "old_logp"))


@declare(needs=("behaviour_logp",))
def over_behaviour(batch: Batch) -> Tensor:
    """exp(logp - behaviour_logp): over the policy that sampled, as the sampler reported it."""
    return exp_difference(trained_logp(batch), stream(batch, "behaviour_logp"))


@declare()
def probability(batch: Batch) -> Tensor:
    """exp(logp): over 1. Dynamic fine-tuning (DFT), Wu et al. 2025, arXiv 2508.05629."""
    logp = trained_logp(batch)
    return exp_difference(logp, torch.zeros_like(logp))


@dataclass(frozen=True, init=False)
class times:
    """The product of ratios. A clip sees the product; what it must not see is a ``correction`` of ``surrogate``."""

    ratios: tuple[Ratio, ...]
    gives = words()

    def __init__(self, *ratios: Ratio) -> None:
        if not ratios:
            raise ValueError("times has no ratios; write times(over_old, truncated(2.0))")
        object.__setattr__(self, "ratios", ratios)

    @property
    def needs(self) -> Words:
        return words().union(*map(needs_of, self.ratios))

    def __call__(self, batch: Batch) -> Tensor:
        return torch.stack([ratio(batch) for ratio in self.ratios]).prod(0)
