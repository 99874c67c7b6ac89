"""The loop. An expert finds better answers than the model alone, feedback says which, the model learns them, again."""

from __future__ import annotations

from collections.abc import Mapping

from journeyman.protocols import Policy
from journeyman.run import Run
from journeyman.types import Assignment, Group


async def train(run: Run) -> None:
    """Synchronous expert iteration. Another shape of loop is another file in ``loops/``."""
    run.check()  # needs and gives over every part, before any work
    for step in run.steps():
        actor = run.policies.snapshot()  # frozen weights with versions
        groups = await collect(run, actor, step, run.curriculum.pick(run.batch))
        run.observe(groups)  # curriculum and schedules
        admitted = [g for g in groups if run.curriculum.admit(g)]
        lessons = [x for g in admitted for x in run.credit(run.fill(g), run.render)]
        metrics = run.learners.update(run.policies, lessons)  # the apprentice learns
        await run.every(step, groups, metrics)  # evaluate, log, save: (period, action) pairs


async def collect(run: Run, actor: Mapping[str, Policy], step: int, assignments: list[Assignment]) -> list[Group]:
    """Every judged group of a step, in order. Each attempt is stored as it ends and judged while others sample. Groups
    that are not admitted are refilled, at most ``run.refills`` times; they are returned too, for they were paid for."""
    groups: list[Group] = []
    for _ in range(1 + run.refills):
        groups += await run.runner.groups(actor, assignments, str(step), first=len(groups), memory=run.memory)
        missing = run.batch - sum(run.curriculum.admit(g) for g in groups)
        if missing <= 0:
            break
        assignments = run.curriculum.pick(missing)
    return groups
