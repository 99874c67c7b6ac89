"""CAPO: the tokens of wrong steps lose reward."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from journeyman.credit.on_sampled import on_sampled
from journeyman.credit.rules import Scores
from journeyman.credit.sampled import answering, lesson
from journeyman.protocols import Render, words
from journeyman.types import Group, Judgement, Lesson, Trace


@dataclass(frozen=True)
class step_penalised:
    """reward of a token = whole * R - process * (1 - v of the span it is in); advantage = (reward - mean) / (std + eps), mean
    and std (ddof 0) over the sampled tokens of the group.

    v is 1 in right steps and where nothing was judged, 0 in wrong ones (between them where critiques are averaged). With
    whole > process a right answer with a wrong step stays above any wrong answer. process = 0 and answers of one length are
    GRPO with ddof 0.

    CAPO: [S125] Xie et al. 2025, arXiv 2508.02298. No official code is released; whole 2, process 1 and the pooling over tokens
    are those of an independent implementation. Differs from the paper in nothing known.
    """

    whole: float = 2.0
    process: float = 1.0
    eps: float = 1e-6
    needs = on_sampled.needs | words("spans")
    gives = on_sampled.gives

    def __post_init__(self) -> None:
        if not (self.whole >= 0 and self.process >= 0 and self.eps >= 0):
            raise ValueError(
                f"step_penalised has whole={self.whole}, process={self.process}, eps={self.eps}; expected numbers of at least 0"
            )

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        judged = [(a, j) for a in group.attempts if (j := group.judgement(a)) is not None and j.score is not None]
        if len(judged) < 2:
            return []
        made = [(lesson(group, a, *one, 0.0), self.rewards(j, one[0])) for a, j in judged for one in answering(a)]
        pooled = np.concatenate([r[np.array(x.train)] for x, r in made])
        spread = pooled.std() + self.eps if np.ptp(pooled) else 1.0
        mean = pooled.mean() if np.ptp(pooled) else pooled[0]  # equal rewards are exactly 0
        return [replace(x, advantage=tuple(np.where(x.train, (r - mean) / spread, 0.0).tolist())) for x, r in made]

    def rewards(self, judgement: Judgement, trace: Trace) -> Scores:
        """Rewards (L) of a trace's tokens."""
        found = np.full(len(trace.tokens), self.whole * (judgement.score or 0.0))
        for s in judgement.spans:
            if s.trace == trace.id:
                found[s.start : s.end] -= self.process * (1 - s.value)
        return found
