"""LUFFY: a demonstration joins the siblings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from journeyman.credit.demonstrate import demonstrate
from journeyman.credit.rules import centred
from journeyman.credit.sampled import Rule, answering, lesson
from journeyman.protocols import Render, words
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class with_demonstration:
    """The task's worked solution as one more sibling, of score ``score``: advantage = rule(scores and that one)[sibling].

    The stream ``off_policy`` is 1 at the demonstration's tokens and 0 at sampled ones; the ratio ``demonstrated`` reads it.
    Where all siblings are wrong the demonstration still teaches; where all are right its advantage is 0. No lesson where
    nothing was checked. Sampled lessons keep their behaviour_logp; the demonstration has none, so it is not given.

    LUFFY, Yan et al. 2025, arXiv 2504.14945 (7 siblings and 1 demonstration; R - mean, as in its released run). Differs from
    the paper in taking the demonstration to be right without asking the verifier.
    """

    rule: Rule = centred
    score: float = 1.0
    policy: str = "policy"
    needs = words("score", "tokens")
    gives = words("lessons", "advantage", "off_policy", "term.rl")

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        judged = [(a, s) for a, s in zip(group.attempts, group.scores(), strict=True) if s is not None]
        if not judged:
            return []
        *advantages, own = self.rule(np.array([*(s for _, s in judged), self.score], dtype=np.float64)).tolist()
        lessons = [
            marked(lesson(group, attempt, *kept, advantage), 0.0)
            for (attempt, _), advantage in zip(judged, advantages, strict=True)
            for kept in answering(attempt)
        ]
        [shown] = demonstrate("rl", self.policy)(group, render)
        return [*lessons, marked(replace(shown, advantage=tuple(own * t for t in shown.train)), 1.0)]


def marked(x: Lesson, off_policy: float) -> Lesson:
    return replace(x, streams={"off_policy": (off_policy,) * len(x.tokens)})
