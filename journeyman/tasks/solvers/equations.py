"""simple_equations: move the constant to the other side, then divide. One path.

With "*" and three terms the library now and then prints an equation without its variable, such as ``0 = 0``
(level 3: 5 in 10,000). Any value solves it; the solver says 0, and the library's scorer knows only the value it drew.
"""

from __future__ import annotations

import re

from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.columns import divide, signed
from journeyman.tasks.solvers.steps import Written, one_path


def _read(equation: str) -> tuple[int, int, int]:
    """(a, b, c) of an equation a*x + b = c in the library's printed form."""
    left, right = equation.replace(" ", "").split("=")
    a = b = 0
    for sign, number, letter in re.findall(r"([+-]?)(\d*)\*?([a-z]?)(?=[+-]|$)", left):
        size = int(number or 1) * (-1 if sign == "-" else 1)
        if letter:
            a += size
        elif number:
            b += size
    return a, b, int(right)


def _simple_equations(entry: Entry) -> Written:
    name = entry["metadata"]["variable"]
    a, b, c = _read(entry["metadata"]["equation"])
    if a == 0:
        return [f"{b}={c}"], "0"
    # a negative coefficient moves instead of the constant: b - a*x = c becomes a*x = b - c
    value, change = (c, -b) if a > 0 else (b, -c)
    a = abs(a)
    term = name if a == 1 else f"{a}*{name}"
    lines = [f"{term}={value}{'-' if change < 0 else '+'}{abs(change)}", signed(value, change)] if change else []
    value += change
    if a > 1:
        lines.append(f"{name}={value}/{a}: {divide(value, a)}")
    return lines, str(value // a)


simple_equations = one_path(_simple_equations)
