"""Mathematical equality: exact text, then exact numbers, then Math-Verify in a process that can be killed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from journeyman.extract import canonical, rational
from journeyman.feedback.each import answered, failed
from journeyman.feedback.exact import final, gold_text
from journeyman.protocols import words
from journeyman.types import Attempt, Group, Judgement, Task
from journeyman.workers import Deadline, WorkerError, shared

STAGES = ("extract", "exact", "numeric", "symbolic")  # components["stage"] is the index of the one that decided
COMPARE = "journeyman.feedback.symbolic:compare"

_WORDS = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{[^{}0-9]*\}|[A-Za-z]{3,}(?:[ -][A-Za-z]+)*\.?")
_PERCENT = re.compile(r"\s*\\?%\s*(?=\$?\s*$)")


@dataclass(frozen=True)
class math_equal:
    r"""score = 1 if the answer equals the gold, decided by the first stage that can; components["stage"] and evidence say which.

    0 extract: no readable answer, several different final ones (\boxed{4} ... \boxed{5}), or one of more than ``longest``
      characters scores 0.
    1 exact: equal ``canonical`` forms. A gold made of words ("Evelyn") is decided here: as a product of letters, "seat" is "east".
    2 numeric: where both are one number, their exact rational values decide both ways; 0.333 is not 1/3. A percent sign
      may be written or left out (10\% and 10), or worked out (10\% and 0.1) where the gold has it.
    3 symbolic: Math-Verify (``symbolic.compare``), for expressions, sets, intervals, matrices, units.

    "timed_out": the symbolic stage took more than ``deadline`` seconds (9^{9^{9^9}}) and its process was killed.
    "abstained": the gold could not be parsed, so nothing was compared; an answer that alone does not parse scores 0.
    "failed": no answer, no text or number as gold, or a comparison that broke, for example on more than ``memory`` bytes.
    The symbolic stage runs in worker processes, the others, which take microseconds, in the event loop.
    """

    deadline: float = 5.0
    longest: int = 2000
    memory: int = 2 << 30
    needs = words("answer")
    gives = words("score")

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        return await asyncio.gather(*(self._judge(group.task, a) for a in group.attempts))

    async def _judge(self, task: Task, attempt: Attempt) -> Judgement:
        text = answered(attempt)
        if isinstance(text, Judgement):
            return text
        try:
            gold = gold_text(task)
        except ValueError as error:
            return failed(attempt, str(error))
        answer, reason = final(text, task.extract)
        if answer is None:
            return decided(attempt, 0, False, reason)
        if len(answer) > self.longest:
            return decided(attempt, 0, False, f"an answer of {len(answer)} characters; read are up to {self.longest}")
        between = f"{answer!r:.200} and gold {gold!r:.200}"
        if canonical(answer) == canonical(gold):
            return decided(attempt, 1, True, between)
        if _WORDS.fullmatch(gold.strip().strip("$")):
            same = re.findall(r"\w+", canonical(answer)) == re.findall(r"\w+", canonical(gold))  # (C) is C
            return decided(attempt, 1, same, f"{between}: {'the same' if same else 'other'} words")
        equal = same_number(gold, answer)
        if equal is not None:
            return decided(attempt, 2, equal, between)
        return await self._symbolic(attempt, gold, answer, between)

    async def _symbolic(self, attempt: Attempt, gold: str, answer: str, between: str) -> Judgement:
        if _PERCENT.search(answer) and not _PERCENT.search(gold):
            answer = _PERCENT.sub("", answer)  # else 10\% is 1/10, which no longer equals the gold 10
        try:
            verdict = await shared().run(COMPARE, gold, answer, deadline=self.deadline, memory=self.memory)
        except Deadline:
            return Judgement(attempt.id, None, "timed_out", evidence=f"symbolic: {between}: more than {self.deadline:g} s")
        except WorkerError as error:
            return failed(attempt, f"symbolic: {between}: {error}")
        if verdict == "gold unreadable":
            return Judgement(attempt.id, None, "abstained", evidence=f"symbolic: {between}: the gold cannot be parsed")
        return decided(attempt, 3, verdict == "equal", f"{between}: {verdict}")


def decided(attempt: Attempt, stage: int, right: bool, evidence: str) -> Judgement:
    """A verdict and the stage that gave it."""
    return Judgement(attempt.id, float(right), evidence=f"{STAGES[stage]}: {evidence}", components={"stage": float(stage)})


def same_number(gold: str, answer: str) -> bool | None:
    """Whether two numbers, percent signs understood, are exactly equal; None unless both are one number."""
    ours, theirs = (rational(_PERCENT.sub("", x)) for x in (gold, answer))
    if ours is None or theirs is None:
        return None
    worked_out = _PERCENT.search(gold) is not None and _PERCENT.search(answer) is None and theirs == ours / 100
    return ours == theirs or worked_out
