"""EMPG: certain steps get the larger share of the credit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from journeyman.credit.group_relative import group_zscore
from journeyman.credit.uncertainty import entropies, runs
from journeyman.protocols import Credit, Render, Words, words
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class entropy_modulated:
    """advantage of a step = A * g + bonus * f(next step), minus its mean over the steps; A is the inner credit's.

    A step is an unbroken run of sampled tokens (one turn), h its mean entropy, scaled to [0, 1] by least and largest:
    g = exp(-sharpness * h) / mean exp(-sharpness * h), f = exp(-clarity * h), and f = 0 after the last step.

    [S196] Wang et al. 2025, arXiv 2509.09265 (no official code; sharpness = clarity = 1 and bonus 0.05 are those of an
    independent implementation). Differs from the paper in taking least, largest and means over the steps of a group (of the
    batch there). Centring can turn signs: with one right attempt its late steps may be pushed down.
    """

    inner: Credit = group_zscore()
    sharpness: float = 1.0
    clarity: float = 1.0
    bonus: float = 0.05

    @property
    def needs(self) -> Words:
        return words("entropy") | self.inner.needs

    @property
    def gives(self) -> Words:
        return self.inner.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        lessons = self.inner(group, render)
        steps = [(i, start, end) for i, x in enumerate(lessons) for start, end in runs(x.train)]
        if not steps:
            return []
        known = [entropies(group, x) for x in lessons]
        mean = np.array([np.mean(known[i][start:end]) for i, start, end in steps])
        base = np.array([lessons[i].advantage[start] for i, start, _ in steps])
        follows = np.array([*(a[0] == b[0] for a, b in pairwise(steps)), False])
        credit: list[list[float]] = [[0.0] * len(x.tokens) for x in lessons]
        for (i, start, end), a in zip(steps, self.modulated(base, mean, follows).tolist(), strict=True):
            credit[i][start:end] = [a] * (end - start)
        return [replace(x, advantage=tuple(a)) for x, a in zip(lessons, credit, strict=True)]

    def modulated(self, base: NDArray, entropy: NDArray, follows: NDArray) -> NDArray:
        """Advantages of steps (S) from the inner credit's, the mean entropies, and whether the next one follows in the same
        answer."""
        h = (entropy - entropy.min()) / (np.ptp(entropy) + 1e-8)
        g = np.exp(-self.sharpness * h)
        after = np.append(np.exp(-self.clarity * h)[1:], 0.0)
        found = base * g / g.mean() + self.bonus * np.where(follows, after, 0.0)
        return found - found.mean()
