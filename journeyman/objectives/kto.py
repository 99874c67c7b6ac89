"""Learning from single answers marked good or bad, with a prospect-theoretic value."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.answers import check_reference, row_log_ratio
from journeyman.objectives.common import at_least, whole
from journeyman.objectives.pairing import together
from journeyman.protocols import Schedule, Words, value, words


@dataclass(frozen=True)
class kto:
    """loss = mean over lessons of desirable * (1 - sigmoid(beta (r - z))) where the advantage is positive, and of
    undesirable * (1 - sigmoid(beta (z - r))) where it is negative, with r = sum of logp - reference over the answer and
    z = max(0, mean of r over the lessons joined with it), detached.

    KTO, Ethayarajh et al. 2024, arXiv 2402.01306: beta 0.1, and weights such that desirable * good answers / (undesirable *
    bad answers) is between 1 and 4/3. Differs from the paper in z, its KL to the reference: the mean over the answers that the
    policy itself drew for this prompt (``labelled`` joins them), and not over answers to other prompts of a micro-batch,
    which would make the loss depend on how lessons are split. Metrics: reward (beta r of good and bad answers), kl (z).
    """

    beta: float | Schedule = 0.1
    desirable: float | Schedule = 1.0
    undesirable: float | Schedule = 1.0
    reference: str = "ref_logp"
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        for name in ("beta", "desirable", "undesirable"):
            at_least("kto", name, getattr(self, name), 0)
        check_reference("kto", self.reference)

    @property
    def needs(self) -> Words:
        return words("lessons", "labels", "forward.logp", self.reference)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        r = row_log_ratio(batch, self.reference)  # (B)
        z = torch.zeros_like(r)
        for rows in together(batch).values():
            z[rows] = r.detach()[rows].mean().clamp(min=0)
        sign = torch.tensor([sum(x.advantage) for x in batch.lessons], dtype=r.dtype, device=r.device).sign()
        good, bad = (sign > 0).to(r.dtype), (sign < 0).to(r.dtype)
        share = value(self.desirable) * good + value(self.undesirable) * bad
        beta = value(self.beta)
        loss = (torch.sigmoid(-sign * beta * (r - z)) * share * batch.weight).sum() / max(whole(batch).sequences, 1.0)
        kept, good, bad = (beta * r).detach().double(), good.double(), bad.double()
        return loss, {
            "reward_good": torch.stack([(kept * good).sum(), good.sum()]),
            "reward_bad": torch.stack([(kept * bad).sum(), bad.sum()]),
            "kl": torch.stack([z.double().sum(), z.new_tensor(len(z)).double()]),
        }
