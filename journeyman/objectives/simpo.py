"""Preference without a reference model: an answer's reward is its mean log-probability."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus

from journeyman.batch import Batch
from journeyman.objectives.answers import row_logp, row_mean_logp
from journeyman.objectives.common import at_least
from journeyman.objectives.pairing import mean_over_pairs, pairs_of, report
from journeyman.protocols import Schedule, value, words


@dataclass(frozen=True)
class simpo:
    """loss = mean over pairs of -log sigmoid(beta * (mean logp of the preferred - mean logp of the rejected answer) - gamma).

    SimPO, Meng et al. 2024, arXiv 2405.14734; beta 2 and gamma 1 are in the range that the paper searches (2 to 2.5, and
    0.3 to 1.6). Metrics: margin (gamma taken off), pair_accuracy, chosen_logp.
    """

    beta: float | Schedule = 2.0
    gamma: float | Schedule = 1.0
    needs = words("lessons", "pairs", "forward.logp")
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        at_least("simpo", "beta", self.beta, 0)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        chosen, rejected = pairs_of(batch)
        mean = row_mean_logp(batch)  # (B)
        margin = value(self.beta) * (mean[chosen] - mean[rejected]) - value(self.gamma)  # (P)
        return mean_over_pairs(softplus(-margin), chosen, batch), report(margin, row_logp(batch)[chosen])
