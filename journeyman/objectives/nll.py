"""Imitation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import Reduce, over_tokens, trained_logp, whole
from journeyman.objectives.reducers import token_mean
from journeyman.protocols import Words, needs_of, words


@dataclass(frozen=True)
class nll:
    """loss = reduce(-logp): cross-entropy of the trained tokens, each lesson times its weight. Advantages are not read.

    Metric ``nll``: mean of -logp over trained tokens (nats), unweighted.
    """

    reduce: Reduce = token_mean
    gives = words()
    skips_zero = False

    @property
    def needs(self) -> Words:
        return words("lessons", "forward.logp") | needs_of(self.reduce)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        per_token = -trained_logp(batch)
        return self.reduce(per_token, batch, whole(batch)), {"nll": over_tokens(per_token, batch)}
