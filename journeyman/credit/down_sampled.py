"""D3S: learn from the answers that differ most and from their uncertain tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from journeyman.credit.group_relative import group_zscore
from journeyman.credit.uncertainty import entropies
from journeyman.protocols import Credit, Render, Schedule, Words, value, words
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class down_sampled:
    """Of the inner credit's lessons the share ``answers`` whose advantages vary most, and of their tokens the share ``tokens``
    with the largest |advantage| * entropy; the rest is not learned and not counted (numbers are rounded, at least 1).

    Advantages are not normalised again. Schedules make both shares grow as training goes on. [S200] Wang et al. 2025, arXiv
    2509.22115. The method card has no values for the shares; 0.5 and 0.2 are ours (the paper reports that under 20% of tokens
    are used). Differs from the paper in choosing among the answers and tokens of a group, not of the batch.
    """

    inner: Credit = group_zscore()
    answers: float | Schedule = 0.5
    tokens: float | Schedule = 0.2

    def __post_init__(self) -> None:
        for name, found in (("answers", self.answers), ("tokens", self.tokens)):
            if isinstance(found, int | float) and not 0 < found <= 1:
                raise ValueError(f"down_sampled has {name}={found}, expected a share above 0 and at most 1")

    @property
    def needs(self) -> Words:
        return words("entropy") | self.inner.needs

    @property
    def gives(self) -> Words:
        return self.inner.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        # In the order of attempts' names, so that ties are broken the same whatever the order of siblings.
        made = sorted((x for x in self.inner(group, render) if any(x.train)), key=lambda x: x.attempt)
        if not made:
            return []
        advantages = [x.advantage[x.train.index(True)] for x in made]
        kept = [made[i] for i in sorted(widest(advantages, max(1, round(value(self.answers) * len(made)))))]
        known = [entropies(group, x) for x in kept]
        weights = [(abs(x.advantage[t]) * known[i][t], i, t) for i, x in enumerate(kept) for t, on in enumerate(x.train) if on]
        weights.sort(key=lambda w: -w[0])
        chosen = {(i, t) for _, i, t in weights[: max(1, round(value(self.tokens) * len(weights)))]}
        masks = [tuple((i, t) in chosen for t in range(len(x.tokens))) for i, x in enumerate(kept)]
        return [
            replace(x, train=mask, advantage=tuple(a if on else 0.0 for a, on in zip(x.advantage, mask, strict=True)))
            for x, mask in zip(kept, masks, strict=True)
            if any(mask)
        ]


def widest(values: Sequence[float], n: int) -> list[int]:
    """Which n of the values have the largest variance: the k largest and the n - k smallest, for the best k."""
    order = sorted(range(len(values)), key=lambda i: -values[i])
    n = min(n, len(order))
    splits = [order[:k] + order[len(order) - (n - k) :] for k in range(n + 1)]
    return max(splits, key=lambda rows: np.var([values[i] for i in rows]))
