"""Math-Verify 0.9.0 behind two checks of its own verdict. Imported in worker processes only, which are killed at the deadline."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import Any, Literal

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Abs, Basic, Expr, Float, MatrixBase, Max, N

logging.disable(logging.CRITICAL)  # in a worker: the library warns that its own time-outs are off; ours replace them

Verdict = Literal["equal", "different", "gold unreadable", "answer unreadable"]

DIGITS = 50  # decimal digits to which two numbers are evaluated
RELATIVE = "1e-12"  # the largest relative difference of numbers that count as equal: floats in answers have 15 digits
_BASE = re.compile(r"_\{?\s*([0-9]+)\s*\}?\s*$")


def compare(gold: str, answer: str) -> Verdict:
    r"""Whether two answers are equal as mathematics, the gold first (Math-Verify is asymmetric by design).

    Both are fenced as LaTeX before parsing: bare equations parse to 0 and are then all equal. Math-Verify says equal to
    numbers that round alike (1/2^{99} and 1/2^{98}, 1/2004! and 1/2006!), and ignores number bases (52_8 and 52_9);
    so two numbers must also agree to ``RELATIVE`` of the larger, and two written bases must be the same.
    """
    ours, theirs = read(gold), read(answer)
    if not ours:
        return "gold unreadable"
    if not theirs:
        return "answer unreadable"
    bases = [m.group(1) for m in (_BASE.search(gold), _BASE.search(answer)) if m]
    if len(bases) == 2 and bases[0] != bases[1]:
        return "different"
    if not verify(list(ours), list(theirs), timeout_seconds=None):
        return "different"
    numbers = [[x for x in side if isinstance(x, Expr) and x.is_number] for side in (ours, theirs)]
    if all(numbers) and not any(close(a, b) for a in numbers[0] for b in numbers[1]):
        return "different"
    return "equal"


@lru_cache(maxsize=1024)
def read(text: str) -> tuple[Any, ...]:
    """The SymPy objects that a text parses to (it gives strings for what it could not parse; they are left out)."""
    fenced = re.sub(r"\\?\$|\\[()\[\]]", "", text)
    found = parse(f"${fenced}$", extraction_config=[LatexExtractionConfig()], parsing_timeout=None)  # pyright: ignore[reportArgumentType] - documented to take None
    return tuple(x for x in found if isinstance(x, Basic | MatrixBase))


def close(a: Any, b: Any) -> bool:
    """Whether two SymPy numbers are equal, or differ by at most ``RELATIVE`` of the larger at ``DIGITS`` digits."""
    if a == b:
        return True
    x, y = N(a, DIGITS), N(b, DIGITS)
    if not (x.is_finite and y.is_finite):
        return False
    return bool(Abs(x - y) <= Float(RELATIVE) * Max(Abs(x), Abs(y)))
