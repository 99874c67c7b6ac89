"""Where reasoning-gym 0.1.25 accepts what is wrong, and what is asked beyond it. Every rule has its test on both sides."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from journeyman.extract import canonical

# One right answer each, but the scorer also accepts another: number_sorting any sorted list within 1 of each number,
# decimal_arithmetic one unit in the last place, pool_matrix 1%, the others text after or around the answer.
UNIQUE = frozenset(
    {"number_sorting", "decimal_arithmetic", "pool_matrix", "fraction_simplification", "gsm_symbolic", "letter_jumble", "survo"}
    | {"spell_backward", "time_intervals", "codeio", "manipulate_matrix", "rotate_matrix"}
)

# Several right answers, checked by the library, which skips characters it does not know: the whole answer must look like one.
SHAPES: Mapping[str, re.Pattern[str]] = {
    "sokoban": re.compile(r"[UDLR]+", re.IGNORECASE),
    "kakurasu": re.compile(r"[01]( [01])*(\s*\n[01]( [01])*)*"),
    "quantum_lock": re.compile(r"[ABC](\W*[ABC])*", re.IGNORECASE),
    "knights_knaves": re.compile(r"[A-Z]\w+ is an? \w+((, and|,| and) [A-Z]\w+ is an? \w+)*\.?", re.IGNORECASE),
    "tower_of_hanoi": re.compile(r"Move disk \d+ from Peg \d+ to Peg \d+(\s*\n\s*Move disk \d+ from Peg \d+ to Peg \d+)*"),
}

# Scorers that run the answer as Python (eval, or sympy.parse_expr, which is eval): any code in it would run. Calls are
# limited to these functions. "Integral" is not among them, for the integration scorers differentiate the answer and
# would accept the question as its own; 11 of 150 intermediate_integration items have only such a gold, and score 0.
LISTS = frozenset({"string_insertion", "spiral_matrix", "binary_matrix", "n_queens"})
EXPRESSIONS = frozenset({"simple_integration", "intermediate_integration", "polynomial_multiplication", "countdown"})
_FUNCTIONS = frozenset(
    {"sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"}
    | {"exp", "log", "ln", "sqrt", "Abs", "erf", "pi"}
)
_TOWER = re.compile(r"(?:\*\*|\^)[\s(]*(?:[0-9]{4,}|[\w.]*[\s)]*(?:\*\*|\^))")  # powers of powers, exponents above 999
_TOKEN = re.compile(r"\s+|[0-9]+(?:\.[0-9]*)?|\.[0-9]+|[A-Za-z]+|\*\*|[-+*/^()]")


def unsafe(answer: str, family: str) -> bool:
    """Whether a scorer that evaluates its answer must not see this one."""
    if family in LISTS:
        return re.search(r"[(.*]|\b(?:for|lambda|if|or|and|not|in|is)\b", answer) is not None
    if _TOWER.search(answer) or (family == "countdown" and ("**" in answer or "^" in answer)):
        return True
    position = 0
    while position < len(answer):
        token = _TOKEN.match(answer, position)
        if token is None:
            return True
        name = token.group()
        if name[0].isalpha() and len(name) > 1 and name not in _FUNCTIONS:
            return True
        position = token.end()
    return False


def same_tokens(answer: str, gold: str) -> bool:
    """Whether two answers are the same values in the same order, whatever brackets, quotes, commas and blanks separate them.

    As a whole by ``canonical`` (3/4 in any notation), else token by token ("[1, 2]" and "['1','2.0']", not "12").
    """
    if canonical(answer) == canonical(gold):
        return True
    ours, theirs = (re.split(r"[\s,;\[\]\"'(){}]+", text.strip()) for text in (answer, gold))
    return [canonical(x) for x in ours if x] == [canonical(x) for x in theirs if x]


def halting(answer: str, entry: Mapping[str, Any]) -> bool:
    """game_of_life_halting: the library compares the truth of two non-empty strings, so anything passes."""
    return canonical(answer) == canonical(entry["answer"])


def puzzle24(answer: str, entry: Mapping[str, Any]) -> bool:
    """puzzle24: an expression in + - * / whose numbers are the puzzle's own, each once, and whose value is exactly 24.

    The library takes any four numbers in range and rounds the value down.
    """
    if len(answer) > 200:
        return False
    try:
        tree = ast.parse(answer.strip(), mode="eval").body
        numbers: list[int] = []
        value = _value(tree, numbers)
    except (
        SyntaxError,
        ValueError,
        ZeroDivisionError,
        RecursionError,
        MemoryError,
    ):  # what ast.parse and _value raise on bad input
        return False
    return value == 24 and sorted(numbers) == sorted(entry["metadata"]["numbers"])


_OPERATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _value(node: ast.expr, numbers: list[int]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        numbers.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, numbers), _value(node.right, numbers))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, numbers)
    raise ValueError("not arithmetic")


OWN: Mapping[str, Callable[[str, Mapping[str, Any]], bool]] = {"game_of_life_halting": halting, "puzzle24": puzzle24}
