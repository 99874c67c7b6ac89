"""countdown: one operation a line on the numbers left, until the target is left; then the whole expression.

Three numbers are searched first: each line takes the sum of two and tries it with the third, with the target beside each
result (``4+13=17: 17+2=19 15 no 17-2=15 15 yes``), and the first hit is the answer. Only where sums and differences miss is
an operation stated without a search.

Several paths: any true operation on numbers still left is right as long as the target can still be reached with all
that is left; it is wrong once it cannot. The answer is right when the expression uses the numbers and makes the target.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from fractions import Fraction
from functools import lru_cache

from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.steps import Solver, Written, join, walk

_LINE = re.compile(r"(-?\d{1,9}(?:/\d{1,9})?)\s*([-+*/])\s*\(?(-?\d{1,9}(?:/\d{1,9})?)\)?\s*=\s*(-?\d{1,9}(?:/\d{1,9})?)")
_TRY = re.compile(r"(\d{1,9})\+(\d{1,9})=(\d{1,9}):((?: \d{1,9}[+-]\d{1,9}=\d{1,9} \d{1,9} (?:yes|no))+)")
_OPERATORS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_LIMIT = 400  # characters of an answer that is still read


def _apply(op: str, a: Fraction, b: Fraction) -> Fraction | None:
    if op == "/":
        return a / b if b else None
    return a + b if op == "+" else a - b if op == "-" else a * b


@lru_cache(maxsize=200_000)
def _reachable(left: tuple[Fraction, ...], target: Fraction) -> bool:
    """Whether some expression over all numbers left (sorted) makes the target."""
    if len(left) == 1:
        return left[0] == target
    for i, a in enumerate(left):
        for j, b in enumerate(left):
            if i == j:
                continue
            rest = [n for k, n in enumerate(left) if k not in (i, j)]
            for op in "-/" if i > j else "+-*/":  # + and * once a pair
                value = _apply(op, a, b)
                if value is not None and _reachable(tuple(sorted([*rest, value])), target):
                    return True
    return False


def _evaluate(node: ast.expr, lines: list[str]) -> Fraction:
    """The value of an expression; adds a line for each operation, innermost first."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return Fraction(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand, lines)
    if not isinstance(node, ast.BinOp) or type(node.op) not in _OPERATORS:
        raise ValueError(f"an expression of integers and + - * / was expected: found {ast.dump(node)[:80]}")
    op = _OPERATORS[type(node.op)]
    a, b = _evaluate(node.left, lines), _evaluate(node.right, lines)
    if op == "+" and isinstance(node.left, ast.UnaryOp):  # -a + b is b - a
        op, a, b = "-", b, -a
    value = _apply(op, a, b)
    if value is None:
        raise ValueError("division by zero")
    lines.append(f"{a}{op}{b}={value}")
    return value


def _search(numbers: list[int], target: int) -> tuple[list[str], str | None]:
    """Lines that try sums and differences of three numbers, and the expression that hit (None: none did)."""
    lines: list[str] = []
    for i, j, k in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        a, b, c = numbers[i], numbers[j], numbers[k]
        pair, high, low = a + b, max(a + b, c), min(a + b, c)
        sums = f" {pair}+{c}={pair + c} {_hit(pair + c, target)}" if k == 2 else ""  # all three added, once
        found = k == 2 and pair + c == target
        line = f"{a}+{b}={pair}:{sums}" + ("" if found else f" {high}-{low}={high - low} {_hit(high - low, target)}")
        if line not in lines:  # equal numbers make equal pairs
            lines.append(line)
        if found:
            return lines, f"{a} + {b} + {c}"
        if high - low == target:
            return lines, f"{a} + {b} - {c}" if pair >= c else f"{c} - ({a} + {b})"
    return lines, None


def _hit(value: int, target: int) -> str:
    return f"{target} {'yes' if value == target else 'no'}"


def _tried(step: str, numbers: list[int], target: int) -> bool:
    """Whether a line tries the sum of two of three numbers with the third, and all it says is true."""
    found = _TRY.fullmatch(step)
    if found is None or len(numbers) != 3:
        return False
    a, b, pair = (int(found.group(k)) for k in (1, 2, 3))
    rest = Counter(numbers) - Counter([a, b])
    if a + b != pair or rest.total() != 1:
        return False
    (c,) = rest.elements()
    return all(
        sorted((int(x), int(y))) == sorted((pair, c))
        and int(z) == (int(x) + int(y) if op == "+" else int(x) - int(y))
        and said == _hit(int(z), target)
        for x, op, y, z, said in re.findall(r"(\d+)([+-])(\d+)=(\d+) (\d+ (?:yes|no))", found.group(4))
    )


def _write(entry: Entry) -> Written:
    lines: list[str] = []
    if len(entry["metadata"]["numbers"]) == 3:
        lines, hit = _search(entry["metadata"]["numbers"], entry["metadata"]["target"])
        if hit is not None:
            return lines, hit
    _evaluate(ast.parse(entry["metadata"]["expression"], mode="eval").body, lines)
    return lines, entry["metadata"]["expression"]


def _answer_right(entry: Entry, content: str) -> bool:
    if len(content) > _LIMIT or not re.fullmatch(r"[\d\s()+\-*/]+", content) or "**" in content or "//" in content:
        return False
    if Counter(map(int, re.findall(r"\d+", content))) != Counter(entry["metadata"]["numbers"]):
        return False
    try:
        return _evaluate(ast.parse(content.strip(), mode="eval").body, []) == entry["metadata"]["target"]
    except (SyntaxError, ValueError):  # not an expression, or one that divides by zero
        return False


def _fraction(text: str) -> Fraction | None:
    whole, _, below = text.partition("/")
    return None if below and not int(below) else Fraction(int(whole), int(below or 1))


def first_wrong_step(entry: Entry, text: str) -> int | None:
    """See ``steps.Solver``; several paths are right."""
    left = Counter(Fraction(n) for n in entry["metadata"]["numbers"])
    target = Fraction(entry["metadata"]["target"])
    tried: set[str] = set()

    def right(step: str) -> bool:
        if step not in tried and _tried(step.strip(), entry["metadata"]["numbers"], entry["metadata"]["target"]):
            tried.add(step)
            return True
        found = _LINE.fullmatch(step.strip())
        if found is None:
            return False
        a, b, value = (_fraction(found.group(k)) for k in (1, 3, 4))
        if a is None or b is None or value is None:
            return False
        used = Counter([a, b])
        if used - left or _apply(found.group(2), a, b) != value:
            return False
        left.subtract(used)
        left[value] += 1
        return _reachable(tuple(sorted(left.elements())), target)

    return walk(text, right, lambda content: _answer_right(entry, content))


countdown = Solver(lambda entry: join(*_write(entry)), first_wrong_step)
