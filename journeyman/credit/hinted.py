"""What ``rationalize`` leaves in an attempt: whether it was told the answer, and what it said before."""

from __future__ import annotations

from dataclasses import replace

from journeyman.types import Attempt


def was_hinted(attempt: Attempt) -> bool:
    """Whether the answer is of a trace that saw the hint."""
    trace = attempt.trace(attempt.answer.trace if attempt.answer else None)
    return trace is not None and bool(trace.marks.get("hinted"))


def first_answer(attempt: Attempt) -> Attempt:
    """The attempt with the answer it gave before the hint."""
    answer = attempt.answer
    if answer is None or not answer.candidates:
        raise ValueError(f"attempt {attempt.id!r} was hinted but holds no first answer; write rationalize() as the strategy")
    return replace(attempt, answer=answer.candidates[0])
