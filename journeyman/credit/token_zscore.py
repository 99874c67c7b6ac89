"""HAPO: scores normalised over a group's tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from journeyman.credit.on_sampled import on_sampled
from journeyman.credit.rules import Scores, centred, zscores
from journeyman.credit.sampled import Shaper, answering, lesson
from journeyman.protocols import Render
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class token_zscore:
    """advantage = (R - mean) / (std + 1e-6), mean and std (ddof 0) over the sampled tokens of the group, not its answers, so
    that the advantages of all tokens add to 0 whatever the lengths; where one would reach ``limit``, those of GRPO.

    HAPO, part 2 (token-level group average): [S201] Liu et al. 2025, arXiv 2509.16591 (limit 5).
    """

    limit: float = 5.0
    shaper: Shaper | None = None
    needs = on_sampled.needs
    gives = on_sampled.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        judged = [(a, s) for a, s in zip(group.attempts, group.scores(), strict=True) if s is not None]
        if len(judged) < 2:
            return []
        kept = [answering(a) for a, _ in judged]
        scores = np.array([s + (self.shaper(a) if self.shaper else 0.0) for a, s in judged], dtype=np.float64)
        advantages = self.normalised(scores, np.array([sum(sum(mask) for *_, mask in x) for x in kept])).tolist()
        return [
            lesson(group, a, *one, advantage) for (a, _), x, advantage in zip(judged, kept, advantages, strict=True) for one in x
        ]

    def normalised(self, scores: Scores, lengths: NDArray) -> Scores:
        """Advantages (G) of scores (G) of answers with these numbers of tokens (G)."""
        if np.ptp(scores) == 0:
            return centred(scores)
        each = np.repeat(scores, lengths)
        found = (scores - each.mean()) / (each.std() + 1e-6)
        return zscores(scores, ddof=0) if np.abs(found).max() >= self.limit else found
