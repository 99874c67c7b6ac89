"""A correction for a sampler that is not quite the learner."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import at_least, exp_difference, stream
from journeyman.protocols import words


@dataclass(frozen=True)
class truncated:
    """Truncated importance weight for a sampler that is not quite the learner: min(exp(old_logp - behaviour_logp), cap).

    Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training" (a report without arXiv id).
    It is a ``correction`` of ``surrogate``: the clip must not see it.
    """

    cap: float = 2.0
    needs = words("old_logp", "behaviour_logp")
    gives = words()

    def __post_init__(self) -> None:
        at_least("truncated", "cap", self.cap, 1)

    def __call__(self, batch: Batch) -> Tensor:
        return exp_difference(stream(batch, "old_logp"), stream(batch, "behaviour_logp")).clamp(max=self.cap)
