"""The loss of a value head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import Reduce, at_least, over_tokens, stream, whole
from journeyman.objectives.reducers import token_mean
from journeyman.protocols import Schedule, Words, needs_of, value, words


@dataclass(frozen=True)
class value_loss:
    """loss = coefficient * reduce(error), error = 1/2 * max((V - returns)^2, (V_c - returns)^2), V_c = old_value +
    clamp(V - old_value, -clip, clip); with ``clip`` None, 1/2 * (V - returns)^2.

    The value term of PPO, Schulman et al. 2017, arXiv 1707.06347, for ``plus(surrogate(ppo_clip(), over_old), value_loss())``
    in a learner that gives ``forward.value`` (``actor_critic``). Differs from the paper in the clipped error, which is that of
    its authors' code, and in its factor 1/2 and default coefficient 0.1, customary for language models. The clip is in the
    units of the score. Metric ``value_loss``: the error per token, without the coefficient.
    """

    coefficient: float | Schedule = 0.1
    clip: float | None = 0.2
    reduce: Reduce = token_mean
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        at_least("value_loss", "coefficient", self.coefficient, 0)
        at_least("value_loss", "clip", self.clip, 0)

    @property
    def needs(self) -> Words:
        clipped = words() if self.clip is None else words("old_value")
        return words("lessons", "forward.value", "returns") | clipped | needs_of(self.reduce)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        found, returns = torch.where(batch.train, batch.out["value"], 0.0), stream(batch, "returns")
        error = (found - returns).square()
        if self.clip is not None:
            old = stream(batch, "old_value")
            error = torch.maximum(error, (old + (found - old).clamp(-self.clip, self.clip) - returns).square())
        loss = value(self.coefficient) * self.reduce(error / 2, batch, whole(batch))
        return loss, {"value_loss": over_tokens(error / 2, batch)}
