"""SIRI: the length budget of answers breathes in and out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from journeyman.protocols import Credit, Render, Schedule, Words, value, words
from journeyman.types import Attempt, Group, Judgement, Lesson

Wave = Callable[[float], float]  # phase in [0, 2 pi) -> -1 (shortest) to 1 (longest)


def stair(phase: float) -> float:
    """The shortest for half a period, then the longest."""
    return -1.0 if phase < math.pi else 1.0


def stair_cosine(phase: float) -> float:
    """Flat for a quarter of a period at either end, half a cosine between them."""
    if math.pi / 4 <= phase < 3 * math.pi / 4:
        return math.cos(2 * (phase - math.pi / 4))
    if 5 * math.pi / 4 <= phase < 7 * math.pi / 4:
        return math.cos(2 * (phase - 3 * math.pi / 4))
    return -1.0 if 3 * math.pi / 4 <= phase < 5 * math.pi / 4 else 1.0


class length_cycle:
    """A schedule: (longest + shortest) / 2 + (longest - shortest) / 2 * wave(2 pi * steps done / period), in tokens.

    [S081] Wen et al. 2025, arXiv 2509.25176: 16384 and 8192 tokens, a period of 640 steps, cosine. Accuracy is said to rise
    from trough to trough, with the length of answers some 100 to 200 steps behind.
    """

    needs = words()
    gives = words()

    def __init__(self, longest: int = 16384, shortest: int = 8192, period: int = 640, wave: Wave = math.cos) -> None:
        if not 1 <= shortest <= longest or period < 1:
            raise ValueError(
                f"length_cycle has longest={longest}, shortest={shortest}, period={period}; expected 1 <= shortest <= longest "
                "and a period of at least 1"
            )
        self.longest, self.shortest, self.period, self.wave = longest, shortest, period, wave
        self._seen = 0

    def observe(self, groups: Sequence[Group]) -> None:
        """One more step has been sampled."""
        self._seen += 1

    def value(self) -> float:
        return self.at(max(0, self._seen - 1))  # a step's groups are shown before credit is asked for it

    def at(self, step: int) -> float:
        """The budget of a step, counted from 0."""
        height = self.wave(2 * math.pi * (step % self.period) / self.period)
        return (self.longest + self.shortest) / 2 + (self.longest - self.shortest) / 2 * height

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self._seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seen = state["seen"]


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
