"""Learning from a task's own worked solution, and when to."""

from __future__ import annotations

from dataclasses import dataclass

from journeyman.curricula.accuracy import accuracy
from journeyman.protocols import Credit, Render, Schedule, Words, value, words
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class demonstrate:
    """One lesson for each group: task prompt + the task's worked solution, advantage 1 at the solution's tokens. What was
    sampled is not read.

    ValueError for a task without a solution.
    """

    term: str = "sft"
    policy: str = "policy"
    needs = words()

    @property
    def gives(self) -> Words:
        return words("lessons", "advantage", f"term.{self.term}")

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        if group.task.solution is None:
            raise ValueError(
                f"task {group.task.id!r} has no worked solution to demonstrate; use tasks that have one (solved(tasks) for "
                "generated tasks, a 'solution' field in a .jsonl file)"
            )
        tokens, train = render([*group.task.prompt, {"role": "assistant", "content": group.task.solution}], self.policy)
        credit = tuple(map(float, train))
        name = f"{group.id}/demonstration"
        return [Lesson(tokens, train, credit, policy=self.policy, term=self.term, group=group.id, attempt=name)]


@dataclass(frozen=True)
class by_accuracy:
    """The lessons of ``below`` where a group's mean accuracy <= gate, else those of ``above``; none where nothing was checked.

    HPT = by_accuracy(demonstrate(), group_mean()): a question whose answers are all wrong (gate 0; 0.25 there for a weaker
    model) is learned from its demonstration, any other from its answers, whose advantages do not see the demonstration.
    [S183] Lv et al. 2025, arXiv 2509.04419. Differs from the paper in nothing but its third branch, off-policy RL on the
    demonstration, which its released settings leave off.
    """

    below: Credit
    above: Credit
    gate: float | Schedule = 0.0

    @property
    def needs(self) -> Words:
        return words("score") | self.below.needs | self.above.needs

    @property
    def gives(self) -> Words:
        return self.below.gives | self.above.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        right = accuracy(group)
        if right is None:
            return []
        return (self.below if right <= value(self.gate) else self.above)(group, render)
