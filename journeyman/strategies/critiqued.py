"""Answer; where that was wrong, hear a critique of it and answer anew."""

from __future__ import annotations

from dataclasses import dataclass

from journeyman.feedback.critique import Critic
from journeyman.prompts import ASK_AGAIN
from journeyman.protocols import View, words
from journeyman.runner import TaskCheck
from journeyman.scope import report
from journeyman.types import Answer, Question, Task, user


@dataclass(frozen=True)
class critiqued:
    """A conversation that goes on, up to ``turns`` answers, while the truth says that the last one is wrong; an oracle. A wrong
    answer hears ``again`` and, under it, the words of ``critic``; where there is none, where it abstains and where it says nothing,
    ``again`` alone (as in ``retry_until_right``). Right answers, and those that nobody could check, are not refined.

    Critics: ``by_solver()`` names the first wrong step; ``told()`` tells the gold answer; ``written(model)`` says what a model
    writes, its call recorded and charged as one of the attempt's. Every turn's score is marked on its trace as ``turn_score``.

    Who is told the answer can copy it. ``verify`` is a critic that right refinements are shown: one with a wrong part, or with
    fewer than two parts (an answer without work), is marked ``unsound`` and its ``turn_score`` is None, so that credit leaves it
    out; those found sound are marked too, so that the share can be counted. ``by_solver`` finds every line wrong that is no line
    of its solution, right or not: a check for models that write as it does.

    Critique-GRPO [S063] (Zhang et al. 2025, arXiv 2506.03106), steps 1 to 3. Differs from the paper in refining in one
    conversation (one prompt of question, answer and critique there) and wrong answers only, and in checking refinements.
    """

    critic: Critic | None = None
    verify: Critic | None = None
    turns: int = 2
    again: str = ASK_AGAIN[0]
    needs = words("oracle")
    gives = words("answer", "turn_score")

    def __post_init__(self) -> None:
        if self.turns < 1:
            raise ValueError(f"critiqued has turns={self.turns}, expected at least 1")

    async def __call__(self, question: Question, policy: View, check: TaskCheck) -> Answer:
        tries: list[Answer] = []
        trace = await policy.sample(question.prompt)
        while True:
            score = (await check(Answer(trace.text, trace.id))).score
            sound = await self.sound(check.task, trace.text) if tries and score == 1.0 else None
            if sound is not None:
                policy.mark(trace, "unsound", not sound)
            policy.mark(trace, "turn_score", None if sound is False else score)
            tries.append(Answer(trace.text, trace.id, confidence=score))
            answer = Answer(trace.text, trace.id, tuple(tries), score)
            report(answer)
            if score is None or score == 1.0 or len(tries) == self.turns:
                return answer
            trace = await policy.extend(trace, turn=user(await self.message(check.task, trace.text)))

    async def message(self, task: Task, text: str) -> str:
        """What a wrong answer hears."""
        found = await self.critic(task, text) if self.critic else None
        said = found.text.strip() if found else ""
        return f"{self.again}\n\n{said}" if said else self.again

    async def sound(self, task: Task, text: str) -> bool | None:
        """Whether a right answer is more than an answer, with no part that ``verify`` finds wrong; None where it has no view."""
        found = await self.verify(task, text) if self.verify else None
        return None if found is None else len(found.parts) > 1 and all(v >= 0.5 for *_, v in found.parts)
