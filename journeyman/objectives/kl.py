"""Penalties for leaving a reference policy: estimators of KL(policy || reference) at sampled tokens, and the loss term.

Schulman 2020, "Approximating KL divergence" (a note without arXiv id). With d = logp - ref_logp, clamped to [-20, 20].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import LARGEST, Estimator, Reduce, at_least, over_tokens, stream, trained_logp, whole
from journeyman.objectives.reducers import token_mean
from journeyman.protocols import Schedule, Words, declare, needs_of, value, words


def log_ratio(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """logp - ref_logp, differentiable, in float32 or better and bounded."""
    return (logp.to(torch.promote_types(logp.dtype, torch.float32)) - ref_logp).clamp(-LARGEST, LARGEST)


@declare()
def k1(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """d: unbiased, of either sign. As a loss it pulls nowhere on average (its expected gradient is 0 on policy)."""
    return log_ratio(logp, ref_logp)


@declare()
def k2(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """d^2 / 2: biased as a value; as a loss its expected gradient is that of the KL on policy."""
    return log_ratio(logp, ref_logp).square() / 2


@declare()
def k3(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """exp(-d) + d - 1: unbiased and never negative, GRPO's choice. As a loss its gradient is not that of the KL."""
    d = log_ratio(logp, ref_logp)
    return torch.expm1(-d) + d


@dataclass(frozen=True)
class kl_penalty:
    """loss = beta * reduce(estimator(logp, ref_logp)), the reference being the policy as the run started.

    GRPO (DeepSeekMath), Shao et al. 2024, arXiv 2402.03300: beta 0.04 and k3. Differs from the paper in clamping the log
    ratio; some code also clamps k3 to [-10, 10], which ends the pull where it is needed most, so that is not done here.
    Metric ``kl``: mean of the estimator over trained tokens (nats).
    """

    beta: float | Schedule = 0.04
    estimator: Estimator = k3
    reduce: Reduce = token_mean
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        at_least("kl_penalty", "beta", self.beta, 0)

    @property
    def needs(self) -> Words:
        return words("lessons", "forward.logp", "ref_logp").union(needs_of(self.estimator), needs_of(self.reduce))

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        per_token = self.estimator(trained_logp(batch), stream(batch, "ref_logp"))
        return value(self.beta) * self.reduce(per_token, batch, whole(batch)), {"kl": over_tokens(per_token, batch)}
