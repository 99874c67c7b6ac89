"""Lifts a rule on scores to credit for the tokens that were sampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from journeyman.credit.rules import Scores
from journeyman.protocols import Render, words
from journeyman.types import Attempt, Group, Lesson, Trace

Rule = Callable[[Scores], Scores]  # scores (G) -> advantages (G)
Drawn = tuple[bool, ...]  # (L) the tokens to learn
Shaper = Callable[[Attempt], float]  # added to an attempt's score before the rule, never to its judgement


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


def answering(attempt: Attempt) -> list[tuple[Trace, float, Drawn]]:
    """The trace that holds the answer, once for each temperature of its line, and what its policy drew at that one."""
    leaf = attempt.trace(attempt.answer.trace if attempt.answer else None)
    if leaf is None or not leaf.tokens:
        raise ValueError(
            f"attempt {attempt.id!r} has a score, but no trace with token ids holds its answer; "
            "write a strategy that answers from a trace it sampled, or imitate_best() as the credit"
        )
    drawn: dict[float, list[bool]] = {}
    for t in attempt.lineage(leaf.id):
        if t.policy == leaf.policy:
            mask = drawn.setdefault(warmth(t), [False] * len(leaf.tokens))
            mask[t.start : len(t.tokens)] = t.sampled[t.start :]
    return [(leaf, temperature, tuple(mask)) for temperature, mask in drawn.items() if any(mask)]


def every(attempt: Attempt) -> list[tuple[Trace, float, Drawn]]:
    """Every trace that drew something, and what its own call drew."""
    own = [(t, warmth(t), tuple(s and i >= t.start for i, s in enumerate(t.sampled))) for t in attempt.traces]
    return [x for x in own if any(x[2])]


def warmth(trace: Trace) -> float:
    """The temperature that a trace's log-probabilities are at: 1 for greedy ones."""
    return trace.sampling.temperature or 1.0


def lesson(group: Group, attempt: Attempt, trace: Trace, temperature: float, drawn: Drawn, advantage: float) -> Lesson:
    """The trace's tokens, those that were drawn to be learned with this advantage."""
    return Lesson(
        tokens=trace.tokens,
        train=drawn,
        advantage=tuple(advantage if d else 0.0 for d in drawn),
        policy=trace.policy,
        behaviour_logp=trace.logp,
        temperature=temperature,
        group=group.id,
        attempt=attempt.id,
    )
