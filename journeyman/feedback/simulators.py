"""What ``hindsight`` plays out: a user who acts on a reply, the world in which that has consequences, and the user's rating.

Any async functions of these shapes will do. The world is told what the user did and knows the task's hidden answer, but never
sees the reply; the user sees the reply, but not the hidden answer. So nothing but a decision can carry a reply's words into
what comes of it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from journeyman.protocols import Policy, View
from journeyman.types import Question, Task, user

Decide = Callable[[Question, str], Awaitable[str]]  # (question, reply) -> what the user does
Happen = Callable[[Task, str], Awaitable[str]]  # (task, what the user did) -> what comes of it
Rate = Callable[[Question, str, str], Awaitable[float | None]]  # (question, reply, what came of it) -> rating, None for no view
_NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?!\w|\.\d)")


async def unseen(task: Task, decision: str) -> str:
    """The baseline: the rating is asked for before anything came of it (foresight)."""
    return ""


@dataclass(frozen=True)
class decides:
    """A model as the user. To be called by the runner, like the others here."""

    policy: Policy | View
    ask: str = "You are the user. You got this reply. What do you do now? Say it in one sentence."
    temperature: float = 0.0

    async def __call__(self, question: Question, reply: str) -> str:
        return await said(self.policy, self.temperature, f"Question: {text_of(question)}", f"Reply: {reply}", self.ask)


@dataclass(frozen=True)
class happens:
    """A model as the world, told the hidden facts."""

    policy: Policy | View
    ask: str = "What comes of this for the user, given the facts? Say it in one sentence."
    temperature: float = 0.0

    async def __call__(self, task: Task, decision: str) -> str:
        known = (f"Question: {text_of(task.question)}", f"Facts: {task.answer}", f"The user's decision: {decision}")
        return await said(self.policy, self.temperature, *known, self.ask)


@dataclass(frozen=True)
class rates:
    """A model as the user who looks back: the one number from ``least`` to ``most`` that it writes; no view where it writes none,
    several, or one outside."""

    policy: Policy | View
    least: float = 1
    most: float = 5
    temperature: float = 0.0

    async def __call__(self, question: Question, reply: str, outcome: str) -> float | None:
        seen = [f"What came of it: {outcome}"] if outcome else []
        ask = f"You are the user. How good was the reply to you, from {self.least:g} (bad) to {self.most:g} (good)? One number."
        text = await said(self.policy, self.temperature, f"Question: {text_of(question)}", f"Reply: {reply}", *seen, ask)
        found = {float(x) for x in _NUMBER.findall(text)}
        return found.pop() if len(found) == 1 and self.least <= min(found) <= self.most else None


async def said(policy: Policy | View, temperature: float, *parts: str) -> str:
    """What a policy says to these parts, one paragraph each."""
    trace = await cast(View, policy).sample(user("\n\n".join(parts)), role="simulator", temperature=temperature)
    return trace.text.strip()


def text_of(question: Question) -> str:
    return question.prompt[-1]["content"].strip()
