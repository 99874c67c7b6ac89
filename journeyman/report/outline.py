"""What a report reads of every attempt of a run: one small row each, without its texts, so that 100,000 attempts are seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from journeyman.evals import Estimate, interval_clustered
from journeyman.store import Store, Stored, StoreError
from journeyman.store.codec import unpack
from journeyman.types import Task

OUTCOMES = ("correct", "wrong", "unchecked", "error")
ROWS = """SELECT a.step, a.ordinal, a.sibling, a.id, a.task, t.source, t.level, a.error IS NOT NULL, j.score
          FROM attempts a JOIN tasks t ON t.id = a.task
          LEFT JOIN judgements j ON j.number = (SELECT min(number) FROM judgements WHERE attempt = a.id AND trace IS NULL)
          ORDER BY a.step, a.ordinal, a.sibling"""


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt: its place, its task, and what became of it."""

    step: int
    ordinal: int
    sibling: int
    id: str
    task: str
    family: str
    level: int
    error: bool
    score: float | None

    @property
    def outcome(self) -> str:
        """ "correct" is a checked score of at least 1, as in evaluations."""
        if self.score is not None:
            return "correct" if self.score >= 1.0 else "wrong"
        return "error" if self.error else "unchecked"


@dataclass(frozen=True)
class Round:
    """A step's two accuracies with 95 % intervals clustered by task: of one attempt (``policy``) and of the best of each
    group (``expert``: the share of tasks that some sibling solved). ``siblings`` is the size of its largest group."""

    step: int
    policy: Estimate
    expert: Estimate
    siblings: int


def outline(store: Store) -> list[Row]:
    """A row for every stored attempt, in the order of step, ordinal, sibling."""
    return [
        Row(step, ordinal, sibling, id, task, family, level, bool(error), score)
        for step, ordinal, sibling, id, task, family, level, error, score in store._rows(ROWS)
    ]


def rounds(rows: list[Row], steps: set[int]) -> list[Round]:
    """The accuracies of these steps. Attempts without a checked answer count as not correct, as in evaluations."""
    groups: dict[int, dict[int, list[bool]]] = {}
    for row in rows:
        if row.step in steps:
            groups.setdefault(row.step, {}).setdefault(row.ordinal, []).append(row.outcome == "correct")
    found: list[Round] = []
    for step, known in sorted(groups.items()):
        means = [float(np.mean(group)) for group in known.values()]
        best = [float(any(group)) for group in known.values()]
        found.append(Round(step, interval_clustered(means), interval_clustered(best), max(map(len, known.values()))))
    return found


def fetch(store: Store, rows: list[Row]) -> Iterator[Stored]:
    """The whole attempts of these rows, with their tasks and judgements."""
    for row in rows:
        attempt = store.attempt(row.step, row.ordinal, row.sibling)
        body = store._rows("SELECT body FROM tasks WHERE id = ?", row.task)
        if attempt is None or not body:
            raise StoreError(f"{store.path}: attempt {row.id!r} was listed and is gone; only one process may write a run")
        task = unpack(body[0][0], Task, f"task {row.task!r}")
        yield Stored(row.step, row.ordinal, row.sibling, task, attempt, tuple(store.judgements([row.id])))
