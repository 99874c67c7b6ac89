"""The verifier that fits a task: the recipes' default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from journeyman.feedback.gym import gym
from journeyman.feedback.math_equal import math_equal
from journeyman.protocols import Feedback, words
from journeyman.types import Group, Judgement


@dataclass(frozen=True)
class auto:
    """``generated`` judges tasks that hold an entry of reasoning-gym, ``other`` all the rest (a gold text or number)."""

    generated: Feedback = gym()
    other: Feedback = math_equal()
    needs = words("answer")
    gives = words("score")

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        entry = isinstance(group.task.answer, dict) and "dataset" in group.task.answer
        return await (self.generated if entry else self.other)(group)
