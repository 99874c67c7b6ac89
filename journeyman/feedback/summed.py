"""Several feedbacks as one score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType

from journeyman.protocols import Feedback, Words, needs_of, words
from journeyman.types import Attempt, Group, Judgement


@dataclass(frozen=True)
class summed:
    """score = sum over feedbacks of weight * their score: ``summed([(auto(), 0.7), (user_reaction("log.jsonl"), 0.3)])``.

    An attempt that a feedback of weight other than 0 gave no score has none, with that feedback's status and evidence. Components:
    each feedback's own score by its name. Spans, critiques and judgements of single traces are left out. The sum of
    helpfulness, safety and P[reaction] of RLUF, [S149] Han et al. 2025, arXiv 2505.14946, whose weights were not verified.
    """

    feedbacks: Sequence[tuple[Feedback, float]]
    gives = words("score")

    def __post_init__(self) -> None:
        if not self.feedbacks or not all(abs(w) < float("inf") for _, w in self.feedbacks):
            raise ValueError("summed expects feedbacks with finite weights; write summed([(exact(), 0.7), (math_equal(), 0.3)])")

    @property
    def needs(self) -> Words:
        return words("answer").union(*(needs_of(f) for f, _ in self.feedbacks))

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        found = [await f(group) for f, _ in self.feedbacks]  # in order, so that the seeds of their calls repeat
        whole = [{j.attempt: j for j in judged if j.trace is None} for judged in found]
        return [self._judge(a, [x.get(a.id) for x in whole]) for a in group.attempts]

    def _judge(self, attempt: Attempt, found: Sequence[Judgement | None]) -> Judgement:
        score, components = 0.0, dict[str, float]()
        for k, ((feedback, weight), j) in enumerate(zip(self.feedbacks, found, strict=True)):
            name = feedback.__name__ if isinstance(feedback, FunctionType) else type(feedback).__name__
            if j is not None and j.score is not None:
                score += weight * j.score
                components[f"{name}{k}" if name in components else name] = j.score
            elif weight:
                status, evidence = (j.status, j.evidence) if j else ("abstained", "no judgement")
                return Judgement(attempt.id, None, status, evidence=f"{name}: {evidence}")
        return Judgement(attempt.id, score, components=components)
