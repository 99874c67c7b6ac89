"""What a report reads of every attempt of a run: one small row each, without its texts, so that 100,000 attempts are seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from journeyman.evals import Estimate, interval_clustered
from journeyman.store import Store, Stored, StoreError

OUTCOMES = ("correct", "wrong", "unchecked", "error")


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
    group (``expert``: the share of tasks that some sibling solved). ``gap`` is the mean over tasks of the second less the
    first; ``siblings`` the size of its largest group."""

    step: int
    policy: Estimate
    expert: Estimate
    gap: Estimate
    siblings: int


def outline(store: Store) -> list[Row]:
    """A row for every stored attempt, in the order of step, ordinal, sibling."""
    return [Row(x.step, x.ordinal, x.sibling, x.id, x.task_id, x.source, x.level, x.failed, x.score) for x in store.listing()]


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
        gaps = [b - m for b, m in zip(best, means, strict=True)]
        policy, expert, gap = map(interval_clustered, (means, best, gaps))
        found.append(Round(step, policy, expert, gap, max(map(len, known.values()))))
    return found


def fetch(store: Store, rows: list[Row]) -> Iterator[Stored]:
    """The whole attempts of these rows, with their tasks and judgements."""
    tasks = {found.id: found.task for found in store.listing(row.id for row in rows)}
    for row in rows:
        attempt, task = store.attempt(row.step, row.ordinal, row.sibling), tasks.get(row.id)
        if attempt is None or task is None:
            raise StoreError(f"{store.path}: attempt {row.id!r} was listed and is gone; only one process may write a run")
        yield Stored(row.step, row.ordinal, row.sibling, task, attempt, tuple(store.judgements([row.id])))
