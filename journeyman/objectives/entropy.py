"""Keeping the policy's choices open."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import Reduce, over_tokens, whole
from journeyman.objectives.reducers import token_mean
from journeyman.protocols import Schedule, Words, needs_of, value, words


@dataclass(frozen=True)
class entropy_bonus:
    """loss = -beta * reduce(entropy of the next-token distribution at trained tokens).

    Williams and Peng 1991; Mnih et al. 2016, arXiv 1602.01783. A negative beta lowers the entropy. Metric ``entropy``: mean
    over trained tokens (nats).
    """

    beta: float | Schedule = 0.001
    reduce: Reduce = token_mean
    gives = words()
    skips_zero = False

    @property
    def needs(self) -> Words:
        return words("lessons", "forward.entropy") | needs_of(self.reduce)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        entropy = batch.out["entropy"]  # (B, T)
        return -value(self.beta) * self.reduce(entropy, batch, whole(batch)), {"entropy": over_tokens(entropy, batch)}
