"""The outcome, as a reward for the part of an answer that one policy wrote."""

from __future__ import annotations

from dataclasses import dataclass, replace

from journeyman.credit.outcome import at_last, outcome
from journeyman.credit.sampled import Drawn, lesson, warmth
from journeyman.protocols import Render
from journeyman.types import Attempt, Group, Lesson, Trace


@dataclass(frozen=True)
class outcome_of:
    """``outcome`` for answers that several policies wrote: one lesson for each checked attempt, of the tokens of its answer that
    ``policy`` drew, with the score R as their advantage and as the stream ``reward`` at the last of them, whoever drew the rest;
    none where it drew nothing.

    A trace of the answer's line owns what it drew up to where the next one begins, so that what was cut off counts for nothing.

    RLGF [S170], Chang et al. 2023, arXiv 2306.11816: an answer that the guide ends is the policy's up to there, and the return,
    not the reward at its own tokens (which is 0), is what it learns from. ValueError for an answer at several temperatures.
    """

    policy: str = "policy"
    needs = outcome.needs
    gives = outcome.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        judged = [(a, s) for a, s in zip(group.attempts, group.scores(), strict=True) if s is not None]
        made = [lesson(group, a, *own, score) for a, score in judged if (own := drawn_by(self.policy, a)) is not None]
        return [replace(x, policy=self.policy, streams={"reward": at_last(x)}) for x in made]


def drawn_by(policy: str, attempt: Attempt) -> tuple[Trace, float, Drawn] | None:
    """The trace that ends an answer, the temperature of this policy, and the mask (L) of what it drew there; None where nothing."""
    line = attempt.lineage(attempt.answer.trace if attempt.answer else None)
    if not line or not line[-1].tokens:
        raise ValueError(
            f"attempt {attempt.id!r} has a score, but no trace with token ids holds its answer; "
            "write a strategy that answers from a trace it sampled"
        )
    mask, warm = [False] * len(line[-1].tokens), set()
    for t, end in zip(line, [*(child.start for child in line[1:]), len(mask)], strict=True):
        for i in range(t.start, min(end, len(t.tokens))):
            if t.policy == policy and t.sampled[i]:
                mask[i] = True
                warm.add(warmth(t))
    if len(warm) > 1:
        raise ValueError(
            f"attempt {attempt.id!r} was drawn by {policy!r} at {len(warm)} temperatures, expected one; write a strategy that "
            "samples at the run's temperature"
        )
    return (line[-1], warm.pop(), tuple(mask)) if warm else None
