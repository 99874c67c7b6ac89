"""One sample: the plain policy as a strategy."""

from __future__ import annotations

from dataclasses import dataclass

from journeyman.protocols import Schedule, View, value, words
from journeyman.types import Answer, Question


@dataclass(frozen=True)
class sample:
    """Answer with one sample. ``temperature`` overrides the run's (0 is greedy) and may be a schedule (B-STaR tunes it)."""

    temperature: float | Schedule | None = None
    needs = words()
    gives = words("answer")

    async def __call__(self, question: Question, policy: View) -> Answer:
        warmth = None if self.temperature is None else value(self.temperature)
        trace = await policy.sample(question.prompt, temperature=warmth)
        return Answer(trace.text, trace.id)
