"""Entries of reasoning-gym as data: what identifies them, which split they belong to, and how they are written as JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

Entry = dict[str, Any]  # question, answer, metadata
Fractions = Sequence[float]  # of train, validation, heldout; they sum to 1

SPLITS = ("train", "validation", "heldout")
FRACTIONS = (0.8, 0.1, 0.1)


# ---------------------------------------------------------------------------------------- identity


def content_hash(text: str) -> str:
    """sha256 (hex) of a text whose runs of blanks are one and whose case is folded."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode()).hexdigest()


def split_of(text: str, fractions: Fractions = FRACTIONS) -> str:
    """The split that a question belongs to, by its content alone: equal questions are in one split whatever made them.

    u = the first 13 hex digits of ``content_hash`` as a fraction of 16^13; train if u < fractions[0], and so on.
    """
    u = int(content_hash(text)[:13], 16) / 16**13
    edge = 0.0
    for name, share in zip(SPLITS, fractions, strict=True):
        edge += share
        if u < edge:
            return name
    return SPLITS[-1]


def seed_of(*key: Any) -> int:
    """A seed below 2^31 (numpy takes no more than 32 bits) from a hash of the key: no two neighbours are related."""
    return int.from_bytes(hashlib.sha256(msgspec.json.encode(key)).digest()[:4], "big") >> 1


# ---------------------------------------------------------------------------------------- JSON


def freeze(value: Any) -> Any:
    """Plain JSON that ``thaw`` turns back into the same value, tuples, sets and keys that are no strings included."""
    if isinstance(value, np.generic):
        return freeze(value.item())
    if value is None or isinstance(value, bool | int | float | str):
        return str(value) if type(value) is not str and isinstance(value, str) else value
    if isinstance(value, list):
        return [freeze(x) for x in value]
    if isinstance(value, tuple):
        return {"$tuple": [freeze(x) for x in value]}
    if isinstance(value, set | frozenset):
        return {"$set": [freeze(x) for x in sorted(value, key=repr)]}
    if isinstance(value, dict):
        if all(isinstance(k, str) and not k.startswith("$") for k in value):
            return {str(k): freeze(x) for k, x in value.items()}
        return {"$dict": [[freeze(k), freeze(x)] for k, x in value.items()]}
    raise ValueError(
        f"found a {type(value).__module__}.{type(value).__name__} in an entry; expected JSON values, tuples, sets and dicts"
    )


def thaw(value: Any) -> Any:
    """What ``freeze`` was given."""
    if isinstance(value, list):
        return [thaw(x) for x in value]
    if not isinstance(value, dict):
        return value
    if "$tuple" in value:
        return tuple(thaw(x) for x in value["$tuple"])
    if "$set" in value:
        return {thaw(x) for x in value["$set"]}
    if "$dict" in value:
        return {thaw(k): thaw(x) for k, x in value["$dict"]}
    return {k: thaw(x) for k, x in value.items()}
