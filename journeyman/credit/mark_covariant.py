"""KL-Cov: the tokens that make entropy fall are marked, to be held near the policy that drew them."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from journeyman.credit.covariance import check_share, covariances, how_many
from journeyman.credit.group_relative import group_zscore
from journeyman.protocols import Credit, Render, Words, words
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class mark_covariant:
    """KL-Cov: the stream ``restrained`` is 1 at the ``share`` of the group's tokens with the largest cov (see
    ``drop_covariant``), else 0. ``drift_penalty`` reads it.

    [S187] Cui et al. 2025, arXiv 2505.22617 (share 2e-3 for 7B models, 2e-4 for 32B; no clip). Differs from the paper as
    ``drop_covariant`` does.
    """

    inner: Credit = group_zscore()
    share: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        check_share("mark_covariant", self.share)

    @property
    def needs(self) -> Words:
        return self.inner.needs

    @property
    def gives(self) -> Words:
        return self.inner.gives | words("restrained")

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        lessons, rng = self.inner(group, render), random.Random(f"{self.seed}/{group.id}")
        found = sorted(covariances(lessons), key=lambda x: -x[1])
        chosen = {place for place, _ in found[: how_many(self.share * len(found), rng)]}
        return [
            replace(x, streams={**x.streams, "restrained": tuple(float((i, t) in chosen) for t in range(len(x.tokens)))})
            for i, x in enumerate(lessons)
        ]
