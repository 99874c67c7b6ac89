"""Answers to reasoning-gym tasks, judged by the library's own scorers, with their known leaks closed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from journeyman.feedback.each import answered, failed
from journeyman.feedback.exact import final
from journeyman.feedback.gym_rules import EXPRESSIONS, LISTS, OWN, SHAPES, UNIQUE, same_tokens, unsafe
from journeyman.protocols import words
from journeyman.types import Attempt, Group, Judgement, Task
from journeyman.workers import Deadline, WorkerError, shared

SCORER = "journeyman.tasks.generate:score"


@dataclass(frozen=True)
class gym:
    """score = 1 if the library gives full marks and no rule of ours objects, else 0; the library's value is components["raw"].

    raw = score_answer(answer, entry), answer = what ``task.extract`` reads. Correct means raw >= ``full`` = 1, not the 0.99
    that is often used: at 0.99 ``time_intervals`` passes an answer that is 14 minutes off and ``game_of_life`` a board with
    one wrong cell in a hundred. Values between are partial credit, floors (0.01 for a wrong answer) or substring credit.
    Beyond that (``gym_rules``): two generators with free points are checked by our own rule; where the library reads past
    decoration or tolerates a wrong value, the answer must also equal the gold token by token or have the answer's shape;
    and no answer is evaluated as Python unless it is a plain list or a plain arithmetic expression.

    Scorers run in a killable process, all answers of a group in one call. A text without a readable answer, or with
    several different ones, scores 0. "timed_out": more than ``deadline`` seconds; "failed": no answer, or a scorer that
    breaks even on the gold answer (one that raises on this answer only has refused it: 0).
    """

    deadline: float = 10.0
    longest: int = 20_000  # characters; a longer answer scores 0 unread
    full: float = 1.0
    needs = words("answer")
    gives = words("score")

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        task = group.task
        if not (isinstance(task.answer, dict) and "dataset" in task.answer):
            reason = f"task {task.id} holds no entry of reasoning-gym; judge it with exact() or math_equal()"
            return [failed(a, reason) for a in group.attempts]
        done: dict[str, Judgement] = {}
        asked: dict[str, str] = {}
        for attempt in group.attempts:
            settled, answer = self._inline(task, attempt)
            if settled is None:
                asked[attempt.id] = answer
            else:
                done[attempt.id] = settled
        if asked:
            verdicts = await self._library(task.answer, list(dict.fromkeys(asked.values())))
            if any(isinstance(v, str) for v in verdicts.values()) and not await self._sound(task.answer):
                verdicts = {a: WorkerError(v) if isinstance(v, str) else v for a, v in verdicts.items()}
            done |= {id: self._verdict(task, id, answer, verdicts[answer]) for id, answer in asked.items()}
        return [done[a.id] for a in group.attempts]

    def _inline(self, task: Task, attempt: Attempt) -> tuple[Judgement | None, str]:
        """The judgement where no scorer is needed, else None and the answer to score."""
        text = answered(attempt)
        if isinstance(text, Judgement):
            return text, ""
        answer, reason = final(text, task.extract)
        family = task.answer["dataset"]
        if answer is None:
            return Judgement(attempt.id, 0.0, evidence=reason), ""
        if len(answer) > self.longest:
            return Judgement(attempt.id, 0.0, evidence=f"an answer of {len(answer)} characters; read are up to {self.longest}"), ""
        if family in OWN:
            right = OWN[family](answer, task.answer)
            return Judgement(attempt.id, float(right), evidence="our own rule", components={"raw": float(right)}), ""
        if family in EXPRESSIONS | LISTS and unsafe(answer, family):
            return Judgement(attempt.id, 0.0, evidence="not a plain expression or list; the scorer would run it as Python"), ""
        return None, answer

    async def _library(self, entry: dict[str, Any], answers: list[str]) -> dict[str, float | str | Exception]:
        """For each distinct answer its raw score, what the scorer raised, or why there is neither."""
        try:
            return dict(zip(answers, await shared().run(SCORER, entry, answers, deadline=self.deadline), strict=True))
        except (Deadline, WorkerError) as error:
            if len(answers) == 1:
                return {answers[0]: error}
        alone = await asyncio.gather(*(self._library(entry, [answer]) for answer in answers))
        return {answer: verdict for one in alone for answer, verdict in one.items()}  # who hung or killed the scorer pays alone

    async def _sound(self, entry: dict[str, Any]) -> bool:
        """Whether the scorer accepts the gold answer, where there is one."""
        gold = entry["answer"]
        return gold is None or (await self._library(entry, [gold]))[gold] == 1.0

    def _verdict(self, task: Task, id: str, answer: str, raw: float | str | Exception) -> Judgement:
        if isinstance(raw, Deadline):
            return Judgement(id, None, "timed_out", evidence=f"the scorer took more than {self.deadline:g} s")
        if isinstance(raw, Exception):
            return Judgement(id, None, "failed", evidence=f"the scorer broke: {raw}")
        if isinstance(raw, str):
            return Judgement(id, 0.0, evidence=f"the scorer could not read {answer!r:.200}: {raw}")
        family, gold = task.answer["dataset"], task.answer["answer"]
        objection = ""
        if raw >= self.full and family in UNIQUE and not same_tokens(answer, gold):
            objection = "; the library accepts it, but it is not the gold answer"
        elif raw >= self.full and family in SHAPES and not SHAPES[family].fullmatch(answer.strip()):
            objection = "; the library reads past what is not part of an answer"
        right = raw >= self.full and not objection
        return Judgement(id, float(right), evidence=f"{answer!r:.200} has raw score {raw:g}{objection}", components={"raw": raw})
