"""An anchor to the distributions that the policy began with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import Reduce, at_least, over_tokens, whole
from journeyman.objectives.reducers import token_mean
from journeyman.protocols import Schedule, Words, needs_of, value, words


@dataclass(frozen=True)
class anchor_kl:
    """loss = beta * reduce(KL(reference || policy)) over the whole vocabulary at trained tokens, as the learner ``anchored`` gives
    it (``forward.anchor``): what the reference found likely may not become unlikely.

    The anchor of ASFT, [S192] Zhu et al. 2025, arXiv 2509.23753 (beta 0.05; its code's default is 0.1): dft's loss plus this
    term. The other direction, KL(policy || reference), collapses there. ``kl_penalty`` estimates that one from one token, at
    no cost of memory. Differs from the paper in nothing known. Metric ``anchor_kl``: mean over trained tokens (nats).
    """

    beta: float | Schedule = 0.05
    reduce: Reduce = token_mean
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        at_least("anchor_kl", "beta", self.beta, 0)

    @property
    def needs(self) -> Words:
        return words("lessons", "forward.anchor") | needs_of(self.reduce)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        kl = batch.out["anchor"]  # (B, T)
        return value(self.beta) * self.reduce(kl, batch, whole(batch)), {"anchor_kl": over_tokens(kl, batch)}
