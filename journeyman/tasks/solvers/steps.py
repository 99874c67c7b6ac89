"""Steps of a chain of thought: how solvers write them and how a checker reads them.

A chain of thought is lines of work and one final ``<answer>...</answer>``. A *step* is one line; the answer tag with all
that it encloses (a grid has several lines) is the last step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from journeyman.tasks.entries import Entry

Written = tuple[list[str], str]  # lines of work, content of the answer tag

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


@dataclass(frozen=True)
class Solver:
    """An exact solver of one family.

    ``solve(entry)`` is a chain of thought whose answer the library's own scorer gives 1.0.
    ``first_wrong_step(entry, text)`` is the 0-based index of the first wrong step of any text, or None when all are
    right and the answer is given. Blank lines are no steps. A text that stops before its answer is wrong at the step
    that is missing, so the index may equal the number of steps. Never raises on any text.
    """

    solve: Callable[[Entry], str]
    first_wrong_step: Callable[[Entry, str], int | None]


def join(lines: Sequence[str], answer: str) -> str:
    """Lines of work and an answer as one text."""
    return "\n".join([*lines, f"<answer>{answer}</answer>"])


def split_steps(text: str) -> list[str]:
    """The steps of a text: its non-blank lines, with the first complete answer tag kept whole."""
    found = _ANSWER.search(text)
    if found is None:
        return [line.strip() for line in text.split("\n") if line.strip()]
    before = [line.strip() for line in text[: found.start()].split("\n") if line.strip()]
    after = [line.strip() for line in text[found.end() :].split("\n") if line.strip()]
    return [*before, found.group(0), *after]


def answer_of(step: str) -> str | None:
    """The content of a step that is an answer tag, else None."""
    found = _ANSWER.fullmatch(step)
    return found.group(1).strip() if found else None


def walk(text: str, right: Callable[[str], bool], answer_right: Callable[[str], bool]) -> int | None:
    """The first wrong step: ``right(step)`` is asked of each line in order, ``answer_right(content)`` of the answer,
    which must be the last step. ``right`` may keep state, as it sees every line once."""
    steps = split_steps(text)
    for index, step in enumerate(steps):
        content = answer_of(step)
        if content is None:
            if not right(step):
                return index
        elif not answer_right(content):
            return index
        else:
            return None if index == len(steps) - 1 else index + 1
    return len(steps)


def squeeze(text: str) -> str:
    """A text whose runs of spaces are one and whose lines have none around them; line breaks stay (grids need them)."""
    return "\n".join(" ".join(line.split()) for line in text.strip().split("\n"))


def one_path(write: Callable[[Entry], Written]) -> Solver:
    """The solver of a family with one procedure, from the function that writes it out.

    A step is right when it is a line of the procedure that comes after the lines already given: leaving lines out is
    not wrong (what follows must still be true), any other line is. The answer is right when it equals the solver's.
    """

    def solve(entry: Entry) -> str:
        return join(*write(entry))

    def first_wrong_step(entry: Entry, text: str) -> int | None:
        lines, answer = write(entry)
        expected = iter([squeeze(line) for line in lines])

        def right(step: str) -> bool:
            return squeeze(step) in expected  # consumes the iterator up to the match

        return walk(text, right, lambda content: squeeze(content) == squeeze(answer))

    return Solver(solve, first_wrong_step)
