"""Sequential tries in one conversation: "that is wrong, try again"."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from journeyman.prompts import ASK_AGAIN
from journeyman.protocols import View, words
from journeyman.runner import Check
from journeyman.scope import report
from journeyman.strategies.vote import tally
from journeyman.types import Answer, Question, Trace, user


async def turns(question: Question, policy: View, n: int, again: str) -> AsyncIterator[Trace]:
    """n tries in one conversation, each after the first answering ``again``."""
    trace = await policy.sample(question.prompt)
    yield trace
    for _ in range(n - 1):
        trace = await policy.extend(trace, turn=user(again))
        yield trace


@dataclass(frozen=True)
class retry:
    """Answer, then up to ``turns - 1`` times hear ``again`` and answer anew, with all earlier tries in context.

    Without the truth the message is sent after every turn, right or wrong, and the answers of all turns vote
    (``choose="vote"``) or the last counts (``"last"``).

    RISE [S122] (Qu et al. 2024, arXiv 2407.18219), inference protocol (b). Differs from the paper in keeping the whole
    conversation in context rather than the last two turns.
    """

    turns: int = 5
    again: str = ASK_AGAIN[0]
    choose: Literal["vote", "last"] = "vote"
    needs = words()
    gives = words("answer")

    async def __call__(self, question: Question, policy: View) -> Answer:
        answers: list[Answer] = []
        async for trace in turns(question, policy, self.turns, self.again):
            answers.append(Answer(trace.text, trace.id))
            report(answers[-1])
        return tally(answers, question) if self.choose == "vote" else answers[-1]


@dataclass(frozen=True)
class retry_until_right:
    """The same with the truth: the conversation ends at the first right answer (RISE [S122] protocol (a)); an oracle.

    Every turn's score is marked on its trace as ``turn_score``, for credit that learns from all turns.
    """

    turns: int = 5
    again: str = ASK_AGAIN[0]
    needs = words("oracle")
    gives = words("answer", "turn_score")

    async def __call__(self, question: Question, policy: View, check: Check) -> Answer:
        tries: list[Answer] = []
        async for trace in turns(question, policy, self.turns, self.again):
            score = (await check(Answer(trace.text, trace.id))).score
            policy.mark(trace, "turn_score", score)
            tries.append(Answer(trace.text, trace.id, confidence=score))
            if score == 1.0:
                break
        return Answer(tries[-1].text, tries[-1].trace, tuple(tries), tries[-1].confidence)
