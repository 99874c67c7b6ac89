"""Reducers: per-token losses (B, T) -> this micro-batch's share of the whole step's loss (scalar).

Denominators are those of the whole optimiser step (``totals``), so the shares of its micro-batches add up to the loss.
A lesson's weight multiplies its tokens' losses and leaves the denominators alone. Sums run over trained tokens only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch, Totals
from journeyman.objectives.common import at_least
from journeyman.protocols import declare, words


def row_sums(per_token: Tensor, batch: Batch) -> Tensor:
    """weight * sum over trained tokens (B)."""
    return torch.where(batch.train, per_token, 0.0).sum(1) * batch.weight


@declare()
def token_mean(per_token: Tensor, batch: Batch, totals: Totals) -> Tensor:
    """Sum over tokens / trained tokens of the step: every token counts the same (DAPO, SFT)."""
    return row_sums(per_token, batch).sum() / max(totals.tokens, 1.0)


@declare()
def sequence_mean(per_token: Tensor, batch: Batch, totals: Totals) -> Tensor:
    """Mean over each lesson's tokens, then over the step's lessons: every answer counts the same (GRPO)."""
    return (row_sums(per_token, batch) / batch.train.sum(1).clamp(min=1)).sum() / max(totals.sequences, 1.0)


@declare()
def sequence_sum(per_token: Tensor, batch: Batch, totals: Totals) -> Tensor:
    """Sum over each lesson's tokens, mean over the step's lessons: an answer is one action (RLOO)."""
    return row_sums(per_token, batch).sum() / max(totals.sequences, 1.0)


@dataclass(frozen=True)
class fixed_length:
    """Sum over tokens / (lessons of the step * length): a constant in place of each answer's own length.

    Dr. GRPO, Liu et al. 2025, arXiv 2503.20783; ``length`` is the generation limit (3000 in the paper's runs). The scale of
    the gradient depends on it. One public framework divides by ``length`` alone; here lessons count too.
    """

    length: float = 3000
    needs = words()
    gives = words()

    def __post_init__(self) -> None:
        at_least("fixed_length", "length", self.length, 1)

    def __call__(self, per_token: Tensor, batch: Batch, totals: Totals) -> Tensor:
        return row_sums(per_token, batch).sum() / (max(totals.sequences, 1.0) * self.length)
