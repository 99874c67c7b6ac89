"""Groups to judge, and one call to judge them."""

import asyncio
from collections.abc import Sequence

from journeyman.protocols import Feedback
from journeyman.types import Answer, Assignment, Attempt, Group, Judgement, Task, user


def task(gold, extract="text"):
    return Task("t", user("?"), gold, extract)


def group(task: Task, answers: Sequence[str | None], id="g") -> Group:
    """Attempts with these answers; None for an attempt without one."""
    made = (Attempt(str(i), task.id, None if a is None else Answer(a)) for i, a in enumerate(answers))
    return Group(id, Assignment(task, siblings=len(answers)), tuple(made))


def judge(feedback: Feedback, group: Group) -> list[Judgement]:
    return list(asyncio.run(collect(feedback, group)))


async def collect(feedback: Feedback, group: Group) -> Sequence[Judgement]:
    return await feedback(group)


def scores(feedback: Feedback, task: Task, answers: Sequence[str]) -> list[float | None]:
    return [j.score for j in judge(feedback, group(task, answers))]
