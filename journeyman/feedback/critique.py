"""What a critic says of a text, and where in an attempt that text was drawn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from journeyman.tasks.solvers import split_steps
from journeyman.types import Attempt, Task, Trace


@dataclass(frozen=True)
class Critique:
    """Values in [0, 1] (1 right, 0 wrong) of parts of a text as (start, end, value) in characters, in order, and the critic's
    words. A part that is missing at the end of the text is (length, length, value)."""

    parts: tuple[tuple[int, int, float], ...]
    text: str = ""


Critic = Callable[[Task, str], Awaitable[Critique | None]]


def of_steps(text: str, values: Sequence[float | None], words: str = "") -> Critique:
    """The critique of a text's steps (``split_steps``) by their values, None where a step was not judged. One value more than
    there are steps is that of the step that is missing."""
    places: list[tuple[int, int]] = []
    at = 0
    for step in split_steps(text):
        begin = text.index(step, at)
        at = begin + len(step)
        places.append((begin, at))
    places.append((len(text), len(text)))
    found = [(*place, v) for place, v in zip(places, values, strict=False) if v is not None]
    return Critique(tuple(found), words)


def answer_trace(attempt: Attempt) -> Trace:
    """The trace that drew an attempt's answer."""
    trace = attempt.trace(attempt.answer.trace if attempt.answer else None)
    if trace is None or attempt.answer is None or trace.text != attempt.answer.text or not trace.tokens:
        raise ValueError(
            f"the answer of attempt {attempt.id!r} is not the text of a trace with token ids, so its parts have no tokens; write a "
            "strategy that answers from a trace it sampled"
        )
    return trace
