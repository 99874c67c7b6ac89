"""The outcome, as a reward for the part of an answer that one policy wrote."""

from __future__ import annotations

from dataclasses import dataclass, replace

from journeyman.credit.outcome import at_last, outcome
from journeyman.credit.sampled import answering, lesson
from journeyman.protocols import Render
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class outcome_of:
    """``outcome`` for answers that several policies wrote: one lesson for each checked attempt, of the tokens of its answer that
    ``policy`` drew, with the score R as their advantage and as the stream ``reward`` at the last of them, whoever drew the rest;
    none where it drew nothing.

    RLGF [S170], Chang et al. 2023, arXiv 2306.11816: an answer that the guide ends is the policy's up to there, and the return,
    not the reward at its own tokens (which is 0), is what it learns from. ValueError for an answer at several temperatures.
    """

    policy: str = "policy"
    needs = outcome.needs
    gives = outcome.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        judged = [(a, s) for a, s in zip(group.attempts, group.scores(), strict=True) if s is not None]
        lessons = []
        for attempt, score in judged:
            if len(lines := answering(attempt, self.policy)) > 1:
                raise ValueError(f"{attempt.id!r} was drawn by {self.policy!r} at {len(lines)} temperatures; draw it at the run's")
            lessons += [lesson(group, attempt, *own, score) for own in lines]
        return [replace(x, policy=self.policy, streams={"reward": at_last(x)}) for x in lessons]
