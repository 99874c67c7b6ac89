"""Few tokens make entropy fall: those whose log-probability and advantage are high, or low, together."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from journeyman.credit.group_relative import group_zscore
from journeyman.protocols import Credit, Render, Words, words
from journeyman.types import Group, Lesson

Place = tuple[int, int]  # lesson, position


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


def covariances(lessons: Sequence[Lesson]) -> list[tuple[Place, float]]:
    """cov of every token that is learned, by attempt and position, so that the siblings' order changes no draw."""
    order = sorted(range(len(lessons)), key=lambda i: lessons[i].attempt)
    places = [(i, t) for i in order for t, on in enumerate(lessons[i].train) if on]
    if not places:
        return []
    if any(x.behaviour_logp is None for x in lessons):
        raise ValueError("a lesson has no behaviour_logp to take covariances of; write a credit that keeps what was sampled")
    logp = np.array([(lessons[i].behaviour_logp or ())[t] for i, t in places])
    advantage = np.array([lessons[i].advantage[t] for i, t in places])
    cov = (advantage - advantage.mean()) * (logp - logp.mean())
    return list(zip(places, cov.tolist(), strict=True))


def how_many(expected: float, rng: random.Random) -> int:
    """A whole number with this mean."""
    return int(expected) + (rng.random() < expected % 1)


def check_share(part: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"{part} has share={share}, expected a number from 0 to 1")
