"""Self-consistency: many answers, the most frequent value wins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from journeyman.extract import canonical, extract
from journeyman.protocols import Strategy, View, words
from journeyman.scope import gather
from journeyman.strategies.sample import sample
from journeyman.types import Answer, Question


@dataclass(frozen=True)
class vote:
    """n answers of ``inner``; those of equal value vote together, and the value of most weight wins.

    value v of an answer = canonical(extract(text)); weight(v) = sum over its answers of 1 ("count") or of the answer's
    own confidence ("confidence"); winner = argmax_v weight(v), the earlier on ties; confidence = weight(winner) / total.
    Answers with no readable value do not vote; if none has one, the first answer is returned with confidence 0.

    Self-Consistency (Wang et al. 2022, arXiv 2203.11171). Differs from the paper in that values, not strings, are
    counted: 0.5 and 1/2 are one answer.
    """

    n: int = 16
    inner: Strategy = sample()
    weight: Literal["count", "confidence"] = "count"
    needs = words()
    gives = words("answer")

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"vote has n={self.n}, expected at least 1")

    async def __call__(self, question: Question, policy: View) -> Answer:
        answers = await gather(self.inner(question, policy) for _ in range(self.n))
        return tally(answers, question, self.weight)


def tally(answers: Sequence[Answer], question: Question, weight: Literal["count", "confidence"] = "count") -> Answer:
    """The winner among answers (at least one), as ``vote`` defines it."""
    weights: dict[str, float] = defaultdict(float)
    first: dict[str, Answer] = {}
    for a in answers:
        found = extract(a.text, question.extract)
        if found is not None:
            key = canonical(found)
            weights[key] += 1.0 if weight == "count" else (a.confidence or 0.0)
            first.setdefault(key, a)
    if not first:
        return replace(answers[0], candidates=tuple(answers), confidence=0.0)
    best = max(first, key=lambda key: weights[key])  # the first of equals, for dicts keep their order
    total = sum(weights.values())
    return replace(first[best], candidates=tuple(answers), confidence=weights[best] / total if total else 0.0)
