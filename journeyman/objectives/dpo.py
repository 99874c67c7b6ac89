"""Direct preference optimisation: a logistic loss on how far a pair's log-ratios to a reference are apart."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.answers import check_reference, row_log_ratio, row_logp
from journeyman.objectives.common import at_least
from journeyman.objectives.pairing import logistic, mean_over_pairs, pairs_of, report
from journeyman.protocols import Schedule, Words, value, words


@dataclass(frozen=True)
class dpo:
    """loss = mean over pairs of -(1 - smoothing) log sigmoid(m) - smoothing log sigmoid(-m), with
    m = beta * (sum of logp - reference over the preferred answer - the same over the rejected one).

    DPO, Rafailov et al. 2023, arXiv 2305.18290 (smoothing 0); a ``smoothing`` above 0 is cDPO, Mitchell 2023 (a note without
    arXiv id). ``reference`` "ref_logp" is the policy as the run started, "old_logp" the policy as the step's lessons came
    in, which makes it iterative: [S188] RLHF Workflow, Dong et al. 2024, arXiv 2405.07863 (smoothing 0.1). Gradient: beta *
    sigmoid(-m) on each token of the preferred answer, minus that on the rejected one. Metrics: margin, pair_accuracy,
    chosen_logp (it usually falls; add ``chosen_nll`` against it).
    """

    beta: float | Schedule = 0.1
    smoothing: float | Schedule = 0.0
    reference: str = "ref_logp"
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        at_least("dpo", "beta", self.beta, 0)
        check_smoothing("dpo", self.smoothing)
        check_reference("dpo", self.reference)

    @property
    def needs(self) -> Words:
        return words("lessons", "pairs", "forward.logp", self.reference)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        chosen, rejected = pairs_of(batch)
        ratio = row_log_ratio(batch, self.reference)  # (B)
        margin = value(self.beta) * (ratio[chosen] - ratio[rejected])  # (P)
        loss = mean_over_pairs(logistic(margin, value(self.smoothing)), chosen, batch)
        return loss, report(margin, row_logp(batch)[chosen])


def check_smoothing(part: str, smoothing: float | Schedule) -> None:
    """Refuse a share of flipped labels that is not in [0, 0.5]."""
    at_least(part, "smoothing", smoothing, 0)
    if isinstance(smoothing, int | float) and smoothing > 0.5:
        raise ValueError(f"{part} has smoothing={smoothing}, expected a number from 0 to 0.5")
