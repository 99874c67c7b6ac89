"""What runs reasoning-gym: entries made from one seed each, and answers scored.

These functions are called in worker processes (``journeyman.workers``): generators and scorers may take minutes,
print, raise, or evaluate what a model wrote. Nothing else imports this module, so that the library is loaded there only.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from reasoning_gym.factory import DATASETS, create_dataset

from journeyman.tasks.entries import Entry, Fractions, freeze, seed_of, split_of, thaw

REBUILT = frozenset({"acre", "gsm_symbolic", "list_functions", "survo"})  # items depend on more of the seed than seed + index


@lru_cache(maxsize=256)
def dataset(family: str, config: bytes, seed: int = 0) -> Any:
    """The library's dataset of a family with these overrides (JSON); ValueError in one line when it refuses them."""
    if family not in DATASETS:
        close = difflib.get_close_matches(family, DATASETS, 3) or sorted(DATASETS)
        raise ValueError(f"reasoning-gym has no generator named {family!r}; write one of {', '.join(close)}")
    if family == "composite":
        raise ValueError("composite is a mixture: name its generators, as in gym:chain_sum,gcd")
    overrides = thaw(msgspec.json.decode(config))
    try:
        return create_dataset(family, seed=seed, size=1, **overrides)
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"reasoning-gym refuses {family} with {overrides}: {error}") from None


def check(family: str, config: bytes) -> None:
    """Raise ValueError unless the family and its overrides are what the library takes."""
    dataset(family, config)


def make(family: str, config: bytes, seed: int) -> Entry:
    """The entry of one seed, the same in every process (workers fix string hashing; the global generators are seeded)."""
    random.seed(seed)
    np.random.seed(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        if family in REBUILT:
            return dataset.__wrapped__(family, config, seed)[0]
        source = dataset(family, config)
        source.seed = seed
        return source[0]


def candidates(family: str, config: bytes, key: Sequence[Any], start: int, tries: int) -> Iterator[tuple[int, Entry]]:
    """(k, entry) for tries k = start, start + 1 ... of the item with this key."""
    for k in range(start, tries):
        yield k, make(family, config, seed_of(family, config.decode(), *key, k))


def draw(
    family: str, config: bytes, key: Sequence[Any], wanted: Sequence[tuple[int, int]], split: str, fractions: Fractions, tries: int
) -> list[tuple[int, Entry] | None]:
    """For each wanted (item, first try): the first try whose question falls in the split, and its entry as plain JSON.

    ``split`` "all" takes the first try. None where ``tries`` are used up.
    """
    found: list[tuple[int, Entry] | None] = []
    for item, start in wanted:
        hit = None
        for k, entry in candidates(family, config, (*key, item), start, tries):
            if split == "all" or split_of(entry["question"], fractions) == split:
                hit = (k, {name: freeze(entry[name]) for name in ("question", "answer", "metadata")})
                break
        found.append(hit)
    return found


def score(entry: Mapping[str, Any], answers: Sequence[str]) -> list[float | str]:
    """The library's score of each answer, or what its scorer raised as "TypeError: ..."."""
    source = dataset(entry["dataset"], msgspec.json.encode(entry.get("config", {})))
    thawed = {name: thaw(entry[name]) for name in ("question", "answer", "metadata")}
    scores: list[float | str] = []
    for answer in answers:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                scores.append(float(source.score_answer(answer, thawed)))
        except Exception as error:  # scorers raise whatever int() or numpy raise on a malformed answer
            scores.append(f"{type(error).__name__}: {error}"[:500])
    return scores
