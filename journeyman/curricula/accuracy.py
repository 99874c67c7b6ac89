"""How right a group is."""

from __future__ import annotations

from journeyman.types import Group


def accuracies(group: Group) -> list[float]:
    """Of each checked attempt, the component "accuracy" of its judgement, or its score where there is none."""
    judged = (j for a in group.attempts if (j := group.judgement(a)) is not None and j.score is not None)
    return [j.components.get("accuracy", j.score or 0.0) for j in judged]


def accuracy(group: Group) -> float | None:
    """Mean accuracy of a group's checked attempts; None where none was checked."""
    found = accuracies(group)
    return sum(found) / len(found) if found else None
