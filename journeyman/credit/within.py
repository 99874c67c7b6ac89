"""SIRI: credit as if answers had to be shorter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from journeyman.protocols import Credit, Render, Schedule, Words, value, words
from journeyman.types import Attempt, Group, Judgement, Lesson


@dataclass(frozen=True)
class within:
    """The inner credit as if sampling had stopped after ``limit`` tokens: what is longer scores 0, and its tokens from there on
    are not learned. Judgements stay as they are; only the inner credit sees others.

    SIRI = within(group_zscore(), length_cycle()): [S081] Wen et al. 2025, arXiv 2509.25176. Differs from the paper in that
    sampling goes on to its own limit, so that a short budget saves no compute, and in that an answer that was complete before
    the budget ran out, but went on, scores 0 too.
    """

    inner: Credit
    limit: float | Schedule

    @property
    def needs(self) -> Words:
        return words("score", "tokens") | self.inner.needs

    @property
    def gives(self) -> Words:
        return self.inner.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        limit = int(value(self.limit))
        drawn = {a.id: drawn_so_far(a) for a in group.attempts}

        def capped(j: Judgement) -> Judgement:
            late = j.trace is None and j.score is not None and max(drawn[j.attempt], default=0) > limit
            return replace(j, score=0.0) if late else j

        made = self.inner(replace(group, judgements=tuple(map(capped, group.judgements))), render)
        return [y for x in made if any((y := cut(x, drawn[x.attempt], limit)).train)]


def drawn_so_far(attempt: Attempt) -> tuple[int, ...]:
    """At each token (L) of the trace that holds the answer, how many were drawn up to and with it."""
    trace = attempt.trace(attempt.answer.trace if attempt.answer else None)
    return tuple(accumulate(map(int, trace.sampled))) if trace else ()


def cut(lesson: Lesson, drawn: Sequence[int], limit: int) -> Lesson:
    if len(drawn) != len(lesson.tokens):
        raise ValueError(
            f"the lesson of attempt {lesson.attempt!r} has {len(lesson.tokens)} tokens and its answer's trace {len(drawn)}; "
            "write an inner credit on what was sampled, such as group_zscore()"
        )
    train = tuple(on and n <= limit for on, n in zip(lesson.train, drawn, strict=True))
    return replace(lesson, train=train, advantage=tuple(a if on else 0.0 for a, on in zip(lesson.advantage, train, strict=True)))
