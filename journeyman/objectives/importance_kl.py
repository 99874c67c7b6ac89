"""The KL to a reference as a loss whose gradient is the KL's, on policy or not."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import Ratio, Reduce, at_least, over_tokens, stream, trained_logp, whole
from journeyman.objectives.kl import k3, log_ratio
from journeyman.objectives.ratios import over_behaviour
from journeyman.objectives.reducers import token_mean
from journeyman.protocols import Schedule, Words, needs_of, value, words


@dataclass(frozen=True)
class importance_kl:
    """loss = beta * reduce(detach(ratio * d) * logp), d = logp - ref_logp: the gradient of ratio * k3 with the ratio pi / pi_old
    differentiated too, for d(ratio k3) = ratio (k3 + 1 - exp(-d)) d(logp) = ratio d d(logp).

    Its expectation over the policy that sampled is the gradient of KL(policy || reference) at each token, where ``kl_penalty`` with
    k3 pulls without bound at tokens that the policy has nearly given up. DeepSeek-V3.2, DeepSeek-AI 2025, arXiv 2512.02556
    (section 3.1). Its value is not the KL: metric ``kl`` is the mean of ratio * k3 over trained tokens (nats). Differs from the
    paper in clamping the log ratios to [-20, 20].
    """

    beta: float | Schedule = 0.04
    ratio: Ratio = over_behaviour
    reduce: Reduce = token_mean
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        at_least("importance_kl", "beta", self.beta, 0)

    @property
    def needs(self) -> Words:
        return words("lessons", "forward.logp", "ref_logp").union(needs_of(self.ratio), needs_of(self.reduce))

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logp, ref = trained_logp(batch), stream(batch, "ref_logp")
        ratio = self.ratio(batch)  # (B, T)
        pull = (ratio * log_ratio(logp, ref)).detach()
        loss = value(self.beta) * self.reduce(pull * logp, batch, whole(batch))
        return loss, {"kl": over_tokens(ratio * k3(logp, ref), batch)}
