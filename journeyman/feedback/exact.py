"""Equality of the extracted answer with the gold answer, by value for numbers and by words for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from journeyman.extract import canonical, everything
from journeyman.feedback.each import answered, failed
from journeyman.protocols import words
from journeyman.types import Attempt, Group, Judgement, Task


@dataclass(frozen=True)
class exact:
    r"""score = 1 if canonical(answer) == canonical(gold) else 0, with answer = what ``task.extract`` reads from the text.

    A text without a readable answer is checked and scores 0. So does one that marks several different answers as final
    (\boxed{4} ... \boxed{5}), whichever is right: a hedge is no answer. The gold is a text or a number; a task with any
    other (a reasoning-gym entry, unit tests) gets "failed" with what to use instead. An attempt without an answer is "failed".
    """

    needs = words("answer")
    gives = words("score")

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        return [self._judge(group.task, a) for a in group.attempts]

    def _judge(self, task: Task, attempt: Attempt) -> Judgement:
        text = answered(attempt)
        if isinstance(text, Judgement):
            return text
        try:
            gold = gold_text(task)
        except ValueError as error:
            return failed(attempt, str(error))
        answer, reason = final(text, task.extract)
        if answer is None:
            return Judgement(attempt.id, 0.0, evidence=reason)
        if canonical(answer) == canonical(gold):
            return Judgement(attempt.id, 1.0, evidence=f"{answer!r:.200} equals the gold answer")
        return Judgement(attempt.id, 0.0, evidence=f"{answer!r:.200} is not the gold answer {gold!r:.200}")


def final(text: str, name: str) -> tuple[str | None, str]:
    """The one final answer of a text, or None and why there is none."""
    found = everything(text, name)
    if not found:
        return None, f"no answer found (extract={name!r})"
    if len({canonical(x) for x in found}) > 1:
        return None, f"{len(found)} contradictory answers, among them {found[0]!r:.100} and {found[-1]!r:.100}"
    return found[-1], ""


def gold_text(task: Task) -> str:
    """The gold answer as text; ValueError says what to use for a task that has none."""
    if isinstance(task.answer, str) and task.answer.strip():
        return task.answer
    if isinstance(task.answer, int | float) and not isinstance(task.answer, bool):
        return str(task.answer)
    if isinstance(task.answer, dict) and "dataset" in task.answer:
        raise ValueError(f"task {task.id} holds an entry of reasoning-gym: judge it with gym()")
    raise ValueError(f"task {task.id} has the gold answer {task.answer!r:.100}; exact() and math_equal() need a text or a number")
