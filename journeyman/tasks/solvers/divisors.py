"""gcd, lcm and fraction_simplification: Euclid's steps.

A line ``760 368: 368*2=736 760-736=24`` divides the larger of a pair by the smaller, ``232 8: 23=8*2+7 72=8*9+0`` does so
digit by digit where the quotient is 10 or more; the next pair is the smaller and the remainder. One path: numbers are
folded in from the left.
"""

from __future__ import annotations

from math import gcd as common
from math import lcm as multiple

from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.columns import divide, multiply
from journeyman.tasks.solvers.steps import Written, one_path


def _euclid(a: int, b: int) -> list[str]:
    a, b = max(a, b), min(a, b)
    lines = []
    while b:
        q = a // b
        work = f"{b}*{q}={b * q} {a}-{b * q}={a - b * q}" if q < 10 else divide(a, b).rpartition(" =")[0]
        lines.append(f"{a} {b}: {work}")
        a, b = b, a - b * q
    return lines


def _gcd(entry: Entry) -> Written:
    total, *rest = entry["metadata"]["numbers"]
    lines = []
    for n in rest:
        lines += _euclid(total, n)
        total = common(total, n)
    return lines, str(total)


def _lcm(entry: Entry) -> Written:
    total, *rest = entry["metadata"]["numbers"]
    lines = []
    for n in rest:
        g = common(total, n)
        lines += _euclid(total, n)
        if g > 1:
            lines.append(f"{total}/{g}: {divide(total, g)}")
        lines += multiply(total // g, n)
        total = multiple(total, n)
    return lines, str(total)


_STYLES = {
    "plain": "{}/{}",
    "latex_inline": "${}/{}$",
    "latex_frac": "$\\frac{{{}}}{{{}}}$",
    "latex_dfrac": "$\\dfrac{{{}}}{{{}}}$",
}


def _fraction(entry: Entry) -> Written:
    a, b = entry["metadata"]["numerator"], entry["metadata"]["denominator"]
    g = common(a, b)
    lines = [*_euclid(a, b), f"{a}/{g}: {divide(a, g)}", f"{b}/{g}: {divide(b, g)}"]
    return lines, _STYLES[entry["metadata"]["style"]].format(a // g, b // g)


gcd = one_path(_gcd)
lcm = one_path(_lcm)
fraction_simplification = one_path(_fraction)
