"""Soft penalty for answers near the length limit."""

from __future__ import annotations

from dataclasses import dataclass

from journeyman.protocols import words
from journeyman.types import Attempt


@dataclass(frozen=True)
class overlong:
    """A shaper, ``group_zscore(shaper=overlong(length, cache))``: with n tokens drawn in the line of the answer,

    0 if n <= length - cache; ((length - cache) - n) / cache up to length; -1 beyond; times ``scale``.

    DAPO, part 4, Yu et al. 2025, arXiv 2503.14476 (length 20480, cache 4096). It is added to the score on its way into the
    rule and never to the judgement, so that admission and accuracy see the verifier's own score. The paper's scores are 1
    and -1: with scores of 1 and 0, ``scale=0.5`` keeps its proportion. Differs from the paper in nothing else.
    """

    length: int = 20480
    cache: int = 4096
    scale: float = 1.0
    needs = words()
    gives = words()

    def __post_init__(self) -> None:
        if not 1 <= self.cache <= self.length:
            raise ValueError(f"overlong has length={self.length}, cache={self.cache}; expected 1 <= cache <= length")

    def __call__(self, attempt: Attempt) -> float:
        trace = attempt.trace(attempt.answer.trace if attempt.answer else None)
        return self.scale * self.penalty(sum(trace.sampled) if trace else 0)

    def penalty(self, drawn: int) -> float:
        """The penalty of an answer of so many tokens."""
        return max(-1.0, min(0.0, (self.length - self.cache - drawn) / self.cache))
