"""Parts written as literal calls: ``vote(n=16, inner=sample(temperature=0.7))`` -> the object, and nothing else is run."""

from __future__ import annotations

import ast
import difflib
import inspect
from types import ModuleType
from typing import Any

from journeyman import credit, curricula, feedback, learners, objectives, strategies

FAMILIES = (strategies, feedback, credit, objectives, curricula, learners)


def parse(text: str, family: ModuleType) -> Any:
    """The part that ``text`` writes, its name looked up in ``family.__all__`` (inside it, in every family's).

    Only calls of parts, their bare names, numbers, strings, booleans, None, lists and tuples are read. Raises ValueError
    with one line saying what was found and what to write.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"{text!r} is not a part; write a call such as {example(family)}") from None
    return made(read(tree, (family,), text))


def read(node: ast.expr, families: tuple[ModuleType, ...], text: str) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        part = look_up(node.func.id, families)
        args = [read_inner(a, text) for a in node.args]
        return call(node.func.id, part, args, {k.arg or "**": read_inner(k.value, text) for k in node.keywords})
    if isinstance(node, ast.Name):
        return look_up(node.id, families)
    raise ValueError(f"{text!r} is not a part; write a call such as {example(families[0])}")


def read_inner(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Call | ast.Name):
        return made(read(node, FAMILIES, text))
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(read_inner(x, text) for x in node.elts)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"{ast.unparse(node)!r} in {text!r} is neither a part nor a plain value") from None


def look_up(name: str, families: tuple[ModuleType, ...]) -> Any:
    for family in families:
        if name in family.__all__:
            return getattr(family, name)
    known = sorted({n for f in families for n in f.__all__})
    close = difflib.get_close_matches(name, known, 1)
    kind = f" of {families[0].__name__.rpartition('.')[2]}" if len(families) == 1 else ""
    raise ValueError(
        f"no part{kind} is named {name!r}" + (f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}")
    )


def call(name: str, part: Any, args: list[Any], keywords: dict[str, Any]) -> Any:
    try:
        inspect.signature(part).bind(*args, **keywords)
    except TypeError as error:
        takes = ", ".join(inspect.signature(part).parameters)
        raise ValueError(f"{name}: {error}; it takes {takes or 'no arguments'}") from None
    return part(*args, **keywords)


def made(part: Any) -> Any:
    """A part named without brackets: a class is made with its defaults, a function is itself."""
    return part() if isinstance(part, type) else part


def example(family: ModuleType) -> str:
    return f"{sorted(family.__all__)[0]}(...)"
