"""Identity preference optimisation: a squared loss, which a pair that always wins cannot push without end."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.answers import check_reference, row_log_ratio, row_logp
from journeyman.objectives.pairing import mean_over_pairs, pairs_of, report
from journeyman.protocols import Schedule, Words, value, words


@dataclass(frozen=True)
class ipo:
    """loss = mean over pairs of (h - 1 / (2 tau))^2, with h = sum of logp - reference over the preferred answer - the same
    over the rejected one.

    IPO, Azar et al. 2023, arXiv 2310.12036. ``tau`` 0.1 is the value of common trainers; the paper gives none for language
    models. ``per_token`` divides each sum by the answer's tokens, as one public trainer does (its authors report that IPO's
    own experiments did); the paper's formula is the sum. Metrics: margin (h), pair_accuracy, chosen_logp.
    """

    tau: float | Schedule = 0.1
    per_token: bool = False
    reference: str = "ref_logp"
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        if isinstance(self.tau, int | float) and not self.tau > 0:
            raise ValueError(f"ipo has tau={self.tau}, expected a number above 0")
        check_reference("ipo", self.reference)

    @property
    def needs(self) -> Words:
        return words("lessons", "pairs", "forward.logp", self.reference)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        chosen, rejected = pairs_of(batch)
        ratio = row_log_ratio(batch, self.reference)  # (B)
        ratio = ratio / batch.train.sum(1).clamp(min=1) if self.per_token else ratio
        h = ratio[chosen] - ratio[rejected]  # (P)
        loss = mean_over_pairs((h - 1 / (2 * value(self.tau))).square(), chosen, batch)
        return loss, report(h, row_logp(batch)[chosen])
