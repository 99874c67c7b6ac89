"""Generated tasks with worked solutions from the exact solvers."""

from __future__ import annotations

from journeyman.protocols import Tasks
from journeyman.tasks.gym import entry_of
from journeyman.tasks.solvers import SOLVERS
from journeyman.types import Task, replace


class solved:
    """The same tasks; each that an exact solver knows, and that has no solution yet, carries the solver's steps."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, index: int) -> Task:
        task = self.tasks[index]
        known = isinstance(task.answer, dict) and task.answer.get("dataset") in SOLVERS
        if task.solution is not None or not known:
            return task
        return replace(task, solution=SOLVERS[task.source].solve(entry_of(task)))
