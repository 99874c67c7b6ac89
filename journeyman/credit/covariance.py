"""Few tokens make entropy fall: those whose log-probability and advantage are high, or low, together.

What ``drop_covariant`` and ``mark_covariant`` share.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from journeyman.types import Lesson

Place = tuple[int, int]  # lesson, position


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
