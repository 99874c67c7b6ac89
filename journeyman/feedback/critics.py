"""Critics: ``await critic(task, text)`` says which parts of a text are right. Any async function of that shape is one.

``step_checked`` asks a critic and puts what it says at the tokens. None is an abstention: the critic has no view. A model as
critic is ``by_policy``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from journeyman.feedback.critique import Critic, Critique, of_steps
from journeyman.tasks.gym import entry_of
from journeyman.tasks.solvers import SOLVERS, split_steps
from journeyman.types import Task


@dataclass(frozen=True)
class by_solver:
    """The exact step checker of the task's family: 1 for each step before the first wrong one, 0 for that one, and ``later``
    for those after it (None: not judged; 0: wrong like all that builds on an error, as process reward models see it).

    Abstains on tasks of no family with a solver. Costs no model call.
    """

    later: float | None = None

    async def __call__(self, task: Task, text: str) -> Critique | None:
        if task.source not in SOLVERS:
            return None
        steps, wrong = split_steps(text), SOLVERS[task.source].first_wrong_step(entry_of(task), text)
        if wrong is None:
            return of_steps(text, [1.0] * len(steps), "every step is right")
        values = [1.0] * wrong + [0.0] + [self.later] * (len(steps) - wrong - 1)
        what = f"step {wrong + 1} is wrong: {steps[wrong]}" if wrong < len(steps) else "the answer is missing"
        return of_steps(text, values, what)


@dataclass(frozen=True)
class new_steps:
    """0 for a step that an earlier step of the same text already says, blanks and case aside, else 1: padding is irrelevant."""

    async def __call__(self, task: Task, text: str) -> Critique | None:
        said = [" ".join(step.casefold().split()) for step in split_steps(text)]
        return of_steps(text, [float(step not in said[:k]) for k, step in enumerate(said)])


@dataclass(frozen=True)
class weighed:
    """Several critics at once, each with a weight w in [0, 1]: ``weighed([(by_solver(), 0.5), (new_steps(), 0.3)])``.

    A part keeps its place; its value becomes (1 + w (2 v - 1)) / 2, so that 2 v - 1 is worth w. Abstains where all do.
    """

    critics: Sequence[tuple[Critic, float]]

    def __post_init__(self) -> None:
        if not self.critics or not all(0 <= w <= 1 for _, w in self.critics):
            raise ValueError(
                "weighed expects critics with weights from 0 to 1; write weighed([(by_solver(), 0.5), (new_steps(), 0.3)])"
            )

    async def __call__(self, task: Task, text: str) -> Critique | None:
        found = [(c, w) for critic, w in self.critics if (c := await critic(task, text)) is not None]
        parts = sorted((start, end, (1 + w * (2 * v - 1)) / 2) for c, w in found for start, end, v in c.parts)
        return Critique(tuple(parts), "\n\n".join(c.text for c, _ in found if c.text)) if found else None
