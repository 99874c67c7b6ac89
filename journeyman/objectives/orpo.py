"""Preference and imitation in one loss, without a reference model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from journeyman.batch import Batch
from journeyman.objectives.answers import row_logp, row_mean_logp
from journeyman.objectives.common import at_least
from journeyman.objectives.pairing import mean_over_pairs, pairs_of, report
from journeyman.protocols import Schedule, value, words

SUREST = -1e-6  # a mean logp nearer to 0 than this is taken as this: the odds of a sure answer are infinite


def log_odds(mean_logp: Tensor) -> Tensor:
    """log(p / (1 - p)) of p = exp(mean_logp), finite and with a finite gradient at p = 1."""
    x = mean_logp.clamp(max=SUREST)
    return x - torch.log(-torch.expm1(x))


@dataclass(frozen=True)
class chosen_nll:
    """loss = mean over pairs of -(mean logp of the preferred answer): ``plus(dpo(reference="old_logp"), chosen_nll())``.

    The term that keeps the preferred answer's probability from falling. Iterative RPO, Pang et al. 2024, arXiv 2404.19733
    (weight 1). Metric ``chosen_nll``: mean over pairs (nats a token).
    """

    needs = words("lessons", "pairs", "forward.logp")
    gives = words()
    skips_zero = False

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        chosen, _ = pairs_of(batch)
        nll = -row_mean_logp(batch)[chosen]  # (P)
        total = nll.detach().double().sum()
        return mean_over_pairs(nll, chosen, batch), {"chosen_nll": torch.stack([total, total.new_tensor(float(len(nll)))])}


@dataclass(frozen=True)
class orpo:
    """loss = mean over pairs of -(mean logp of the preferred answer) + weight * -log sigmoid(m), with
    m = log odds of the preferred - log odds of the rejected answer, odds p / (1 - p) of p = exp(mean logp).

    ORPO, Hong et al. 2024, arXiv 2403.07691 (``weight``, lambda in the paper, 0.1). Differs from the paper in clamping the
    mean logp to at most -1e-6 in the odds. Metrics: margin (m), pair_accuracy, chosen_logp.
    """

    weight: float | Schedule = 0.1
    needs = words("lessons", "pairs", "forward.logp")
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        at_least("orpo", "weight", self.weight, 0)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        chosen, rejected = pairs_of(batch)
        mean = row_mean_logp(batch)  # (B)
        odds = log_odds(mean)
        margin = odds[chosen] - odds[rejected]  # (P)
        loss = mean_over_pairs(value(self.weight) * softplus(-margin) - mean[chosen], chosen, batch)
        return loss, report(margin, row_logp(batch)[chosen])
