"""HAPO: how hot each token is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from journeyman.credit.uncertainty import entropies
from journeyman.protocols import Credit, Render, Words, words
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class with_heat:
    """The inner credit's lessons with the stream ``heat`` in [-1, 1]: how far the log entropy e of a token is from a pivot.

    z = (e - pivot) / rms(e - pivot), pivot the ``quantile`` of e over the group's tokens; heat = z / largest z where z > 0,
    z / |least z| elsewhere. ``entropy_clip`` reads it. HAPO: [S201] Liu et al. 2025, arXiv 2509.16591. Differs from the paper
    in taking quantile and extremes over a group (the batch there), and from its released code, which divides negative z by
    their negative minimum and so makes the most certain tokens hot.
    """

    inner: Credit
    quantile: float = 0.8

    def __post_init__(self) -> None:
        if not 0 <= self.quantile <= 1:
            raise ValueError(f"with_heat has quantile={self.quantile}, expected a number from 0 to 1")

    @property
    def needs(self) -> Words:
        return words("entropy") | self.inner.needs

    @property
    def gives(self) -> Words:
        return words("heat") | self.inner.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        lessons = self.inner(group, render)
        if not lessons:
            return []
        known = [np.array(entropies(group, x)) for x in lessons]
        train = [np.array(x.train) for x in lessons]
        pooled = heats(np.concatenate([e[m] for e, m in zip(known, train, strict=True)]), self.quantile)
        heat = [np.zeros(len(m)) for m in train]
        for h, m, own in zip(heat, train, np.split(pooled, np.cumsum([m.sum() for m in train])[:-1]), strict=True):
            h[m] = own
        return [replace(x, streams={**x.streams, "heat": tuple(h.tolist())}) for x, h in zip(lessons, heat, strict=True)]


def heats(entropy: NDArray, quantile: float) -> NDArray:
    """Heat (N) of tokens with these entropies (N); 0 where all are the same."""
    e = np.log(np.maximum(entropy, 1e-8))
    z = e - np.quantile(e, quantile)  # the rms would cancel in the divisions below
    high, low = z.max(initial=0.0), -z.min(initial=0.0)
    return np.where(z > 0, z / (high or 1.0), z / (low or 1.0))
