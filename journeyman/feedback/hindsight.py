"""Ratings by a user who has seen what came of the reply."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from journeyman.feedback.each import answered, failed
from journeyman.feedback.simulators import Decide, Happen, Rate
from journeyman.protocols import words
from journeyman.types import Attempt, Group, Judgement


@dataclass(frozen=True)
class hindsight:
    """score = rate(question, reply, happen(task, decide(question, reply))): the user decides on the reply, the world shows what
    comes of it, and only then is the rating asked for. Simulators are functions or models (``simulators``).

    RLHS, [S168] Liang et al. 2025, arXiv 2501.08617, with outcomes of the chosen action only (partial hindsight); train on it with
    a policy gradient or on its pairs with dpo. ``happen=unseen`` is the baseline, the same user asked before (foresight), who can
    be pleased by promises. The outcome stays in this judgement's evidence, out of every training context. Differs from the
    paper in leaving the simulators, prompts and scales to the user. An attempt whose simulation raises is failed, one that
    the user does not rate is abstained. Equal replies of a group are played out once.
    """

    decide: Decide
    happen: Happen
    rate: Rate
    needs = words("answer")
    gives = words("score")

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        task = group.task
        texts = list(dict.fromkeys(t for a in group.attempts if isinstance(t := answered(a), str)))
        # One stage after the other, so that the order of calls, and with it their seeds, does not depend on which ends first.
        played: dict[str, list[object]] = {t: [] for t in texts}
        for stage in (
            lambda t: self.decide(task.question, t),
            lambda t: self.happen(task, str(played[t][0])),
            lambda t: self.rate(task.question, t, str(played[t][1])),
        ):
            going = [t for t in texts if not any(isinstance(x, BaseException) for x in played[t])]
            for t, x in zip(going, await asyncio.gather(*map(stage, going), return_exceptions=True), strict=True):
                played[t].append(x)
        return [self._judge(a, played) for a in group.attempts]

    def _judge(self, attempt: Attempt, played: dict[str, list[object]]) -> Judgement:
        text = answered(attempt)
        if isinstance(text, Judgement):
            return text
        *before, last = played[text]
        if isinstance(last, BaseException):
            return failed(attempt, f"the simulation raised {type(last).__name__}: {last}")
        decision, outcome = before
        evidence = f"decision: {decision}\noutcome: {outcome}"
        if last is None:
            return Judgement(attempt.id, None, "abstained", evidence=evidence)
        if not isinstance(last, int | float) or not abs(last) < float("inf"):
            return failed(attempt, f"the rating is {last!r:.200}; expected a finite number, or None")
        return Judgement(attempt.id, float(last), evidence=evidence)
