"""Best of n by the verifier's own score: the expert of rejection sampling, and an oracle."""

from __future__ import annotations

from dataclasses import dataclass, replace

from journeyman.protocols import Strategy, View, words
from journeyman.runner import Check
from journeyman.scope import gather, report
from journeyman.strategies.sample import sample
from journeyman.types import Answer, Question


@dataclass(frozen=True)
class best_of_n:
    """n answers of ``inner``; the one that the truth scores highest, the earlier on ties.

    answer = argmax_i check(answer_i).score, where an answer that could not be checked counts as the lowest. It is an
    oracle: good for making lessons, not for serving, and every report says so. Confidence is the winner's score.

    Best-of-n / rejection sampling (Cobbe et al. 2021, arXiv 2110.14168; Nakano et al. 2021, arXiv 2112.09332). Differs
    from both in that the scorer is the task's verifier, not a learned reward model.
    """

    n: int = 8
    inner: Strategy = sample()
    needs = words("oracle")
    gives = words("answer")

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"best_of_n has n={self.n}, expected at least 1")

    async def __call__(self, question: Question, policy: View, check: Check) -> Answer:
        answers = await gather(self.inner(question, policy) for _ in range(self.n))
        report(answers[0])
        judged = await gather((check(a) for a in answers), strict=True)
        scores = [float("-inf") if j.score is None else j.score for j in judged]
        best = max(range(len(answers)), key=lambda i: scores[i])
        sure = max(0.0, min(1.0, scores[best]))
        return replace(answers[best], candidates=tuple(answers), confidence=sure)
