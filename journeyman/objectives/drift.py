"""KL-Cov: chosen tokens are held near where they were."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import Reduce, at_least, over_tokens, stream, trained_logp, whole
from journeyman.objectives.kl import log_ratio
from journeyman.objectives.reducers import token_mean
from journeyman.protocols import Schedule, Words, needs_of, value, words


@dataclass(frozen=True)
class drift_penalty:
    """loss = kappa * reduce(restrained * |logp - old_logp|), over the tokens whose stream ``restrained`` is 1.

    The second half of KL-Cov: plus(surrogate(no_clip, over_old), drift_penalty(1.0)) on the lessons of ``mark_covariant``.
    [S187] Cui et al. 2025, arXiv 2505.22617 (kappa 1). Its gradient is 0 while the policy is still the old one. Metric
    ``restrained``: share of trained tokens. Differs from the paper in clamping the log ratio to [-20, 20].
    """

    kappa: float | Schedule = 1.0
    reduce: Reduce = token_mean
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        at_least("drift_penalty", "kappa", self.kappa, 0)

    @property
    def needs(self) -> Words:
        return words("lessons", "forward.logp", "old_logp", "restrained") | needs_of(self.reduce)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        restrained = stream(batch, "restrained")
        per_token = restrained * log_ratio(trained_logp(batch), stream(batch, "old_logp")).abs()
        return value(self.kappa) * self.reduce(per_token, batch, whole(batch)), {"restrained": over_tokens(restrained, batch)}
