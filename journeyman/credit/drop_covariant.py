"""Clip-Cov: the tokens that make entropy fall are left out, some of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from journeyman.credit.covariance import check_share, covariances, how_many
from journeyman.credit.group_relative import group_zscore
from journeyman.protocols import Credit, Render, Words
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class drop_covariant:
    """Clip-Cov: sets to 0 the advantage of ``share`` of the tokens, drawn from those with low < cov < high, where
    cov = (A - mean A) * (logp - mean logp) over the tokens of the group that are learned.

    The tokens stay in the denominators. The draw derives from ``seed`` and the group. [S187] Cui et al. 2025, arXiv 2505.22617
    (share 2e-4, 1 to 5, with ``ppo_clip(1, 1)``). Differs from the paper in taking means and share over a group (the batch
    there), at the log-probabilities of sampling (the policy's there), and in that a share of less than one token drops one
    with that chance (always one there).
    """

    inner: Credit = group_zscore()
    share: float = 2e-4
    low: float = 1.0
    high: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_share("drop_covariant", self.share)
        if not self.low < self.high:
            raise ValueError(f"drop_covariant has low={self.low}, high={self.high}, expected low < high")

    @property
    def needs(self) -> Words:
        return self.inner.needs

    @property
    def gives(self) -> Words:
        return self.inner.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        lessons, rng = self.inner(group, render), random.Random(f"{self.seed}/{group.id}")
        found = covariances(lessons)
        some = [place for place, cov in found if self.low < cov < self.high]
        chosen = set(rng.sample(some, min(len(some), how_many(self.share * len(found), rng))))
        return [
            replace(x, advantage=tuple(0.0 if (i, t) in chosen else a for t, a in enumerate(x.advantage)))
            for i, x in enumerate(lessons)
        ]
