"""Partial credit for how far a program got."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from journeyman.protocols import Feedback, Words
from journeyman.types import Group, Judgement


@dataclass(frozen=True)
class milestones:
    """The judgements of ``feedback``, and where it abstained, for there was no submission to grade, partial credit for what the
    program printed (``evidence``): score = worth * number of ``patterns`` found there, or ``failed`` where none is.

    Each pattern is a regular expression for one milestone, such as "loaded data"; found twice it counts once. What timed out or
    broke keeps no score. Components: "milestones" (their number) at every judgement that has evidence or was scored here, and
    "accuracy" 0 at what was scored here, so that partial credit is no accuracy. Who makes programs print milestones is a model
    that does not learn; and all milestones together must be worth far less than a good submission, or they are what is learned.

    [S155] Yang, He-Yueya and Liang 2025, arXiv 2509.01684 (7 milestones of 0.1, failure -10; a submission has the grader's score).
    """

    feedback: Feedback
    patterns: tuple[str, ...]
    worth: float = 0.1
    failed: float = -10.0

    def __post_init__(self) -> None:
        if isinstance(self.patterns, str) or not self.patterns or not self.worth > 0 or not self.failed < 0:
            raise ValueError(
                f"milestones has patterns={self.patterns!r}, worth={self.worth}, failed={self.failed}; expected a tuple of regular "
                "expressions, worth above 0 and failed below 0"
            )
        for pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"milestones has the pattern {pattern!r}, expected a regular expression: {error}") from None

    @property
    def needs(self) -> Words:
        return self.feedback.needs

    @property
    def gives(self) -> Words:
        return self.feedback.gives

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        return [self.credited(j) for j in await self.feedback(group)]

    def credited(self, judgement: Judgement) -> Judgement:
        reached = sum(re.search(pattern, judgement.evidence) is not None for pattern in self.patterns)
        counted = {**judgement.components, "milestones": float(reached)}
        if judgement.status != "abstained":
            return replace(judgement, components=counted) if judgement.evidence else judgement
        score = self.worth * reached if reached else self.failed
        return replace(judgement, score=score, status="checked", components={**counted, "accuracy": 0.0})
