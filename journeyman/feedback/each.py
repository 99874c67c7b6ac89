"""Any plain function as feedback: one bad rollout, and one bad call of the function, is data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from journeyman.protocols import words
from journeyman.types import Attempt, Group, Judgement, Task


@dataclass(frozen=True)
class each:
    """Judges each attempt by ``f(task, text of its answer) -> number or bool``, alone and in order.

    The judgement is "checked" with score = float(f(task, text)); bool, int, float and numpy scalars are numbers. It is
    "failed", without a score and with the reason as evidence, when the attempt has an error or no answer (``f`` is not
    asked: a rollout that crashed is not a wrong answer), when ``f`` raises, and when it returns NaN, an infinity, None or
    anything else that is no number. ``f`` runs inline, so it should be cheap; ``from_file`` runs one in a killable process.
    """

    f: Callable[[Task, str], float]
    needs = words("answer")
    gives = words("score")

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        return [self._judge(group.task, a) for a in group.attempts]

    def _judge(self, task: Task, attempt: Attempt) -> Judgement:
        text = answered(attempt)
        if isinstance(text, Judgement):
            return text
        try:
            returned = self.f(task, text)
        except Exception as error:  # a user's function may raise anything, and it must cost this attempt only
            return failed(attempt, f"the reward function raised {type(error).__name__}: {error}")
        return scored(attempt, returned)


def answered(attempt: Attempt) -> str | Judgement:
    """The text of an attempt's answer, or the judgement "failed" of one that has none."""
    if attempt.error is not None:
        return failed(attempt, f"the attempt ended in an error: {attempt.error}")
    if attempt.answer is None:
        return failed(attempt, "the attempt has no answer")
    return attempt.answer.text


def failed(attempt: Attempt, reason: str) -> Judgement:
    """No verdict, because something broke."""
    return Judgement(attempt.id, None, "failed", evidence=reason[:2000])


def scored(attempt: Attempt, returned: Any) -> Judgement:
    """The judgement of a returned score, "failed" if it is no finite number."""
    if isinstance(returned, Real) or type(returned).__name__ == "bool":  # numpy's bool is no Real
        value = float(returned)
        if abs(value) < float("inf"):
            return Judgement(attempt.id, value)
    return failed(attempt, f"the reward function returned {returned!r:.200}; expected a finite number or a bool")
