"""The outcome, as a reward at the last token drawn."""

from __future__ import annotations

from dataclasses import dataclass, replace

from journeyman.credit.sampled import answering, lesson
from journeyman.protocols import Render, words
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class outcome:
    """One lesson for each checked attempt, of the tokens its answer's trace holds that the answering policy drew: stream
    ``reward`` = the score R at the last of them and 0 elsewhere, and advantage = R at each, which is the return at gamma = 1.

    A learner with a value head (``actor_critic``) makes advantages and returns of ``reward``; any other learner does REINFORCE
    without a baseline (Williams 1992). A group may have one sibling. A trace whose turns were drawn at several temperatures
    makes one lesson for each, with R at its own last token.
    """

    needs = words("score", "tokens")
    gives = words("lessons", "advantage", "reward", "behaviour_logp", "term.rl")

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        judged = [(a, s) for a, s in zip(group.attempts, group.scores(), strict=True) if s is not None]
        lessons = [lesson(group, a, *own, score) for a, score in judged for own in answering(a)]
        return [replace(x, streams={"reward": at_last(x)}) for x in lessons]


def at_last(x: Lesson) -> tuple[float, ...]:
    """The lesson's advantage (L) at the last token that is learned, 0 elsewhere."""
    last = max(t for t, learned in enumerate(x.train) if learned)
    return tuple(a if t == last else 0.0 for t, a in enumerate(x.advantage))
