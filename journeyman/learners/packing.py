"""How lessons are split into optimiser steps and micro-batches."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

from journeyman.batch import Totals
from journeyman.types import Lesson


def units(lessons: Sequence[Lesson]) -> list[list[Lesson]]:
    """What stays in one optimiser step: the lessons of a group, or of a pair outside any group; any other lesson alone."""
    found: dict[object, list[Lesson]] = {}
    for i, x in enumerate(lessons):
        found.setdefault(("group", x.group) if x.group else ("pair", x.pair) if x.pair else i, []).append(x)
    return list(found.values())


def step_parts(lessons: Sequence[Lesson], updates: int, seed: str) -> list[list[Lesson]]:
    """The lessons in a seeded order, in ``updates`` parts of nearly equal numbers of units (fewer parts where there are fewer)."""
    shuffled = units(lessons)
    random.Random(seed).shuffle(shuffled)
    parts = min(updates, len(shuffled))
    bounds = [len(shuffled) * i // parts for i in range(parts + 1)] if parts else [0]
    return [[x for unit in shuffled[a:b] for x in unit] for a, b in pairwise(bounds)]


def plan(lessons: Sequence[Lesson], updates: int, epochs: int, steps: int | None, seed: str) -> list[list[Lesson]]:
    """The lessons of every optimiser step in turn: ``epochs`` passes in ``updates`` parts each, or (``steps`` given) exactly
    ``steps`` parts, over as many passes as that takes."""
    if steps is not None and lessons:
        epochs = math.ceil(steps / len(units(lessons)))
        updates = math.ceil(steps / epochs)
    return [part for epoch in range(epochs) for part in step_parts(lessons, updates, f"{seed}/{epoch}")][:steps]


def totals_of(lessons: Iterable[Lesson]) -> dict[str, Totals]:
    """Denominators of each term."""
    by_term: dict[str, list[Lesson]] = {}
    for x in lessons:
        by_term.setdefault(x.term, []).append(x)
    return {term: Totals.of(own) for term, own in by_term.items()}


def micro_batches(lessons: Sequence[Lesson], micro_tokens: int) -> list[list[int]]:
    """Indices of lessons of like length, rows * longest <= ``micro_tokens`` (a longer lesson or pair is alone), longest
    first, so that memory runs out at once or not at all. A micro-batch has one term and one set of streams, for a batch
    keeps only the streams that all its lessons have; the lessons of a pair stay together."""
    kinds: dict[object, dict[object, list[int]]] = {}
    for i, x in enumerate(lessons):
        streams = tuple(sorted(x.streams)), x.behaviour_logp is None, x.old_logp is None
        kinds.setdefault((x.term, streams), {}).setdefault(i if x.pair is None else ("pair", x.group, x.pair), []).append(i)
    found: list[list[int]] = []
    for units in kinds.values():
        open_rows: list[int] = []
        widest = 0
        for unit in sorted(units.values(), key=lambda u: -max(len(lessons[i].tokens) for i in u)):
            if open_rows and (len(open_rows) + len(unit)) * widest > micro_tokens:
                found.append(open_rows)
                open_rows = []
            if not open_rows:
                widest = max(len(lessons[i].tokens) for i in unit)
            open_rows = open_rows + unit
        found.append(open_rows)
    return sorted(found, key=lambda rows: -max(len(lessons[i].tokens) for i in rows))
