"""Tasks that ask for a role besides solving: verify, revise, choose, try again, decline.

Each is made from a generated task by the wording the base model was taught (``prompts.py``), so that a model, a strategy's
verifier or a reviser can be measured, and trained, in that role alone.
"""

from __future__ import annotations

from functools import partial
from random import Random

from journeyman.protocols import Tasks
from journeyman.scope import seed_of
from journeyman.tasks import roles
from journeyman.tasks.gym import entry_of
from journeyman.tasks.levels import HARD
from journeyman.tasks.solvers import SOLVERS
from journeyman.types import Task, replace

_BUILDERS = {
    "verify": roles.verify,
    "revise": partial(roles.revise, wrong=1.0),
    "choose": roles.choose,
    "again": roles.again,
}
ROLES = (*_BUILDERS, "decline")


class role_tasks:
    """The same tasks asked in one role; ``tasks`` are generated, of families with an exact solver.

    ``verify``: is this attempt right, step by step (half are); gold "yes" or "no".
    ``revise``: an attempt is given, always a wrong one; gold the task's own, as for ``again`` (told so in a conversation).
    ``choose``: which of 2 to 4 answers is right; gold its number.
    ``decline``: the task with an invitation to decline; gold the task's own below level ``levels.HARD``, else "I don't know".
    What is drawn follows from the task's id. Raises ValueError for an unknown role, and for a task no solver knows.
    """

    def __init__(self, tasks: Tasks, role: str) -> None:
        if role not in ROLES:
            raise ValueError(f"no role is named {role!r}; write one of {', '.join(ROLES)}")
        self.tasks, self.role = tasks, role

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, index: int) -> Task:
        task = self.tasks[index]
        if task.source not in SOLVERS:
            raise ValueError(
                f"task {task.id} is of no family with an exact solver; roles are asked of {', '.join(sorted(SOLVERS))}"
            )
        rng, entry, solver = Random(seed_of("role", self.role, task.id)), entry_of(task), SOLVERS[task.source]
        gold = task.answer
        if self.role == "decline":
            hard = (task.level or 0) >= HARD
            messages = roles.decline(rng, entry, solver, hard)
            gold = roles.UNKNOWN if hard else gold
        else:
            messages = _BUILDERS[self.role](rng, entry, solver)
            if self.role in ("verify", "choose"):
                gold = messages[-1]["content"].rpartition("<answer>")[2].removesuffix("</answer>")
        return replace(
            task, id=f"{self.role}/{task.id}", prompt=tuple(messages[:-1]), answer=gold, solution=messages[-1]["content"]
        )
