"""Direct preference optimisation of the steps of a search, each pair as sure as the search was."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.answers import check_reference, row_log_ratio, row_logp
from journeyman.objectives.common import at_least, stream
from journeyman.objectives.pairing import logistic, mean_over_pairs, pairs_of, report
from journeyman.protocols import Schedule, Words, value, words


@dataclass(frozen=True)
class step_dpo:
    """``dpo`` whose smoothing is each pair's own, from the stream ``smoothing`` that ``step_pairs`` gives.

    [S191] MCTS-DPO, Xie et al. 2024, arXiv 2405.00451: smoothing = min(1 - confidence, 0.5), confidence = 1 / (1 + N_rejected
    / max(1, N_preferred)) from the visits N of the two steps; the reference is the policy as the run started.
    """

    beta: float | Schedule = 0.1
    reference: str = "ref_logp"
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        at_least("step_dpo", "beta", self.beta, 0)
        check_reference("step_dpo", self.reference)

    @property
    def needs(self) -> Words:
        return words("lessons", "pairs", "smoothing", "forward.logp", self.reference)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        chosen, rejected = pairs_of(batch)
        ratio = row_log_ratio(batch, self.reference)  # (B)
        margin = value(self.beta) * (ratio[chosen] - ratio[rejected])  # (P)
        doubt = torch.where(batch.train, stream(batch, "smoothing"), 0.0).amax(1)[chosen]  # (P)
        return mean_over_pairs(logistic(margin, doubt), chosen, batch), report(margin, row_logp(batch)[chosen])
