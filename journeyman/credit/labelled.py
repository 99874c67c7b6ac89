"""Single answers marked good or bad."""

from __future__ import annotations

from dataclasses import dataclass, replace

from journeyman.credit.sampled import drawn
from journeyman.protocols import Render, Schedule, value, words
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class labelled:
    """One lesson for each checked attempt: advantage 1 at its tokens where the score is at least ``threshold``, else -1. All
    lessons of a group are joined (``Lesson.pair`` is the group's id), for ``kto`` compares each with their mean log-ratio.

    KTO, Ethayarajh et al. 2024, arXiv 2402.01306, which needs answers marked good or bad and no pairs.
    """

    threshold: float | Schedule = 1.0
    needs = words("score", "tokens")
    gives = words("lessons", "advantage", "behaviour_logp", "labels", "term.preference")

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        judged = [(a, s) for a, s in zip(group.attempts, group.scores(), strict=True) if s is not None]
        signs = [1.0 if s >= value(self.threshold) else -1.0 for _, s in judged]
        return [
            replace(drawn(group, a, sign), term="preference", pair=group.id) for (a, _), sign in zip(judged, signs, strict=True)
        ]
