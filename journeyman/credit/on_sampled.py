"""Lifts a rule on scores to credit for the tokens that were sampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from journeyman.credit.sampled import Rule, Shaper, answering, every, lesson
from journeyman.protocols import Render, words
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class on_sampled:
    """One lesson for each checked attempt: the tokens its answer's trace holds that the answering policy drew, each with
    the attempt's advantage = rule(score + shaper)[attempt].

    Abstentions (score None) get no lesson and are left out of the rule; where fewer than two siblings are left there is
    nothing to compare, and no lesson. An advantage of 0 still makes a lesson, for denominators count it. A trace whose
    turns were drawn at several temperatures makes one lesson for each. ``every_trace``: instead, one lesson for each
    trace of the attempt, whichever policy and role drew it, on the tokens of that call alone (a shared prefix counts once).
    """

    rule: Rule
    shaper: Shaper | None = None
    every_trace: bool = False
    needs = words("score", "siblings", "tokens")
    gives = words("lessons", "advantage", "behaviour_logp", "term.rl")

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        judged = [(a, s) for a, s in zip(group.attempts, group.scores(), strict=True) if s is not None]
        if len(judged) < 2:
            return []
        extra = [self.shaper(a) if self.shaper else 0.0 for a, _ in judged]
        advantages = self.rule(np.array([s for _, s in judged], dtype=np.float64) + extra)
        lessons = []
        for (attempt, _), advantage in zip(judged, advantages.tolist(), strict=True):
            for trace, temperature, drawn in every(attempt) if self.every_trace else answering(attempt):
                lessons.append(lesson(group, attempt, trace, temperature, drawn, advantage))
        return lessons
