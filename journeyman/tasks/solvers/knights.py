"""knights_knaves: try the assignments one a line until one agrees with every statement.

``TF: T T no`` supposes that the first person tells the truth and the second lies, evaluates each person's statement
under that, and agrees (``yes``) when the values equal the assignment. Several paths: assignments in any order.
"""

from __future__ import annotations

import re
from itertools import product
from typing import Any

from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.steps import Solver, join, squeeze, walk

_LINE = re.compile(r"([TF]+): [TF](?: [TF])* (?:yes|no)")


def holds(statement: tuple[Any, ...], truth: tuple[bool, ...]) -> bool:
    """The value of a statement when ``truth`` says who tells the truth."""
    kind, *parts = statement
    if kind in ("telling-truth", "lying"):
        return truth[parts[0]] == (kind == "telling-truth")
    values = [holds(part, truth) for part in parts]
    if kind == "not":
        return not values[0]
    if kind in ("and", "or"):
        return all(values) if kind == "and" else any(values)
    if kind not in ("->", "<=>"):
        raise ValueError(f"unknown statement kind {kind!r}: expected telling-truth, lying, not, and, or, -> or <=>")
    return not values[0] or values[1] if kind == "->" else values[0] == values[1]


def _letters(truth: tuple[bool, ...]) -> str:
    return "".join("T" if t else "F" for t in truth)


def _line(entry: Entry, truth: tuple[bool, ...]) -> str:
    said = tuple(holds(s, truth) for s in entry["metadata"]["statements"])
    return f"{_letters(truth)}: {' '.join(_letters(said))} {'yes' if said == truth else 'no'}"


def _answer(entry: Entry) -> str:
    m = entry["metadata"]
    terms = m["knight_knave_terms"]
    people = [f"{name} is {terms['a_knight' if t else 'a_knave']}" for name, t in zip(m["names"], m["solution"], strict=True)]
    return ", ".join(people[:-1]) + ", and " + people[-1]


def solve(entry: Entry) -> str:
    """See ``steps.Solver``."""
    lines = []
    for truth in product((True, False), repeat=len(entry["metadata"]["statements"])):
        lines.append(_line(entry, truth))
        if lines[-1].endswith("yes"):
            break
    return join(lines, _answer(entry))


def first_wrong_step(entry: Entry, text: str) -> int | None:
    """See ``steps.Solver``; a line is right when it is true and new, in any order. People may be named in any order."""
    count = len(entry["metadata"]["statements"])
    tried: set[str] = set()

    def right(step: str) -> bool:
        found = _LINE.fullmatch(squeeze(step))
        if found is None or len(found.group(1)) != count or found.group(1) in tried:
            return False
        tried.add(found.group(1))
        return squeeze(step) == _line(entry, tuple(letter == "T" for letter in found.group(1)))

    def people(content: str) -> list[str]:
        return sorted(re.split(r",?\s+and\s+|,\s*", squeeze(content).rstrip(".")))

    return walk(text, right, lambda content: people(content) == people(_answer(entry)))


knights_knaves = Solver(solve, first_wrong_step)
