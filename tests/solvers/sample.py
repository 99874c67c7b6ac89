"""Entries that several tests share: generated once a level."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

import reasoning_gym

from journeyman.tasks.levels import LEVELS

ALL = [(family, level) for family, levels in LEVELS.items() for level in range(len(levels))]
COUNT = 200


@cache
def dataset(family: str, level: int) -> Any:
    return reasoning_gym.create_dataset(family, seed=0, size=1, **LEVELS[family][level])


@cache
def entries(family: str, level: int) -> list[dict[str, Any]]:
    rng = Random(f"{family} {level}")
    return [dataset(family, level)[rng.getrandbits(60)] for _ in range(COUNT)]
