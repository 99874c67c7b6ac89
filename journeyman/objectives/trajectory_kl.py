"""The KL of whole answers, as a penalty on the reward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import Ratio, Reduce, at_least, over_tokens, stream, trained_logp, whole
from journeyman.objectives.kl import log_ratio
from journeyman.objectives.ratios import over_behaviour
from journeyman.objectives.reducers import sequence_sum
from journeyman.protocols import Schedule, Words, needs_of, value, words


@dataclass(frozen=True)
class trajectory_kl:
    """loss = lam * reduce(detach(ratio * D_t) * logp_t), D_t = sum over trained tokens s >= t of d_s, d = logp - ref_logp: each
    token answers for the divergence that it leads to, as it would with the reward R - lam * sum_t d_t.

    With ``sequence_sum`` and lessons that the policy drew, its expected gradient is that of lam * KL(policy || reference) over
    whole answers, the sum of the KLs at their tokens; ``importance_kl`` leaves out that a token moves the later ones. With a
    policy gradient on R the fixed point is pi(y) ~ reference(y) * exp(R(y) / lam): demonstration-regularised RL, [S024]
    Tiapkin et al. 2023, arXiv 2310.17303, where the reference is the clone of the demonstrations. Differs from the paper in
    sampling what its tables work out. Log ratios are clamped to [-20, 20]. Metric ``kl``: mean of d (nats, either sign).
    """

    lam: float | Schedule = 0.05
    ratio: Ratio = over_behaviour
    reduce: Reduce = sequence_sum
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        at_least("trajectory_kl", "lam", self.lam, 0)

    @property
    def needs(self) -> Words:
        return words("lessons", "forward.logp", "ref_logp").union(needs_of(self.ratio), needs_of(self.reduce))

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logp = trained_logp(batch)
        d = torch.where(batch.train, log_ratio(logp.detach(), stream(batch, "ref_logp")), 0.0)  # (B, T)
        ahead = d.flip(1).cumsum(1).flip(1)
        loss = value(self.lam) * self.reduce((self.ratio(batch) * ahead).detach() * logp, batch, whole(batch))
        return loss, {"kl": over_tokens(d, batch)}
