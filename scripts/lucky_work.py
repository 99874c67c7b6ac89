"""How much of what a run calls right has wrong work in it, by family, as the exact step checkers see it.

    python scripts/lucky_work.py out/grpo --most 150

Reads a run folder. Mixed: share of questions with right and with wrong answers, without which siblings teach nothing by
comparison. Wrong work: share of right answers with a step that is no line of the family's worked solution. Answers of families
without a checker are left out.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cyclopts import run

from journeyman.feedback.critics import by_solver
from journeyman.store import Store
from journeyman.tasks.solvers import SOLVERS
from journeyman.types import Task


class Judged(NamedTuple):
    """One answer: its question, the step of the run, its text and its score."""

    task: Task
    question: tuple[int, int]
    text: str
    score: float


def judged(folder: Path, last: int) -> dict[str, list[Judged]]:
    """The run's judged answers by family and level, of its ``last`` steps (0: all)."""
    found: dict[str, list[Judged]] = defaultdict(list)
    with Store(folder).open(readonly=True) as store:
        steps = range(1, len(store.steps()) + 1)[-last:]
        for s in (s for step in steps for s in store.attempts(step)):
            score = next((j.score for j in s.judgements if j.trace is None), None)
            if s.task.source in SOLVERS and s.attempt.answer and score is not None:
                name = f"{s.task.source} {s.task.level}"
                found[name].append(Judged(s.task, (s.step, s.ordinal), s.attempt.answer.text, score))
    return found


async def sound(answer: Judged) -> bool:
    """Whether no step of the answer is wrong."""
    critique = await by_solver()(answer.task, answer.text)
    return critique is not None and all(value == 1.0 for *_, value in critique.parts)


def row(name: str, answers: Sequence[Judged], most: int) -> tuple[str, ...]:
    """Family and level, questions, right, mixed, right answers checked, those with wrong work."""
    right = [a for a in answers if a.score == 1.0][:most]
    scores: dict[tuple[int, int], set[float]] = defaultdict(set)
    for a in answers:
        scores[a.question].add(a.score)
    mixed = sum(len(found) > 1 for found in scores.values()) / len(scores)
    wrong = sum(not asyncio.run(sound(a)) for a in right)
    share = f"{wrong / len(right):.0%}" if right else "-"
    return name, f"{len(scores)}", f"{sum(a.score for a in answers) / len(answers):.0%}", f"{mixed:.0%}", f"{len(right)}", share


def main(folder: Path, *, most: int = 150, last: int = 0) -> None:
    """Print the table.

    Parameters
    ----------
    folder: A run folder.
    most: Right answers checked of each family.
    last: Only the last so many steps; 0: all.
    """
    found = judged(folder, last)
    head = ("family and level", "questions", "right", "mixed", "checked", "wrong work")
    for first, *others in [head, *(row(name, answers, most) for name, answers in sorted(found.items()))]:
        print(f"{first:28}" + "".join(f"{x:>12}" for x in others))


if __name__ == "__main__":
    run(main)
