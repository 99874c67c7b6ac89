"""Parts written as literal calls: ``vote(n=16, inner=sample(temperature=0.7))`` -> the object, and nothing else is run."""

from __future__ import annotations

import ast
import difflib
import inspect
import math
from collections.abc import Callable, Iterator
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from journeyman import credit, curricula, feedback, learners, objectives, strategies
from journeyman.protocols import Credit, Curriculum, Feedback, Learner, Objective, Schedule, Strategy, Tasks

FAMILIES = (strategies, feedback, credit, objectives, curricula, learners)
KINDS = ("strategy", "feedback", "credit", "objective", "curriculum", "learner")  # what a part of each is called
SEAMS: dict[Any, ModuleType] = {
    Strategy: strategies,
    Feedback: feedback,
    Credit: credit,
    Objective: objectives,
    Curriculum: curricula,
    Learner: learners,
}
PLAIN = (int, float, str, bool, NoneType, tuple, list, Literal)  # what msgspec checks


def parse(text: str, family: ModuleType) -> Any:
    """The part that ``text`` writes, its name looked up in ``family.__all__`` (inside it, in the family that a field takes).

    Only calls of parts, their bare names, numbers, strings, booleans, None, lists and tuples are read; a value must have the
    type of the field it is for. Raises ValueError with one line saying what was found and what to write.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # all that the parser raises on any text
        raise ValueError(f"{text!r:.200} is not a part; write a call such as {example(family)}") from None
    if not isinstance(tree, ast.Call | ast.Name):
        raise ValueError(f"{text!r:.200} is not a part; write a call such as {example(family)}")
    return read_part(tree, (family,))


def read_part(node: ast.Call | ast.Name, families: tuple[ModuleType, ...]) -> Any:
    """The part that a call or a bare name writes: a bare class is made with its defaults, a bare function is itself."""
    if isinstance(node, ast.Name):
        part = look_up(node.id, families)
        return call(node.id, part, []) if isinstance(part, type) else part
    if not isinstance(node.func, ast.Name):
        raise ValueError(f"{ast.unparse(node)!r:.200} is not a part; write a call such as {example(families[0])}")
    part = look_up(node.func.id, families)
    if not isinstance(part, type):
        raise ValueError(f"{node.func.id} is a function and takes no brackets; write {node.func.id}")
    return call(node.func.id, part, node.args, node.keywords)


def look_up(name: str, families: tuple[ModuleType, ...]) -> Any:
    """The part of this name in these families."""
    for family in families:
        if name in family.__all__:
            return getattr(family, name)
    known = sorted({n for f in families for n in f.__all__})
    close = difflib.get_close_matches(name, known, 1)
    wanted = kind_of(families[0]) if len(families) == 1 else "part"
    other = next((kind_of(f) for f in FAMILIES if name in f.__all__), None)
    found = f"{name} is {a(other)}, not {a(wanted)}" if other else f"no {wanted} is named {name!r}"
    raise ValueError(f"{found}; " + (f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"))


def call(name: str, part: Any, args: list[ast.expr], keywords: list[ast.keyword] | None = None) -> Any:
    """The part made with these arguments, each checked against the annotation of its parameter."""
    signature, hints = inspect.signature(part), get_type_hints(part.__init__)
    by_name: dict[str, ast.expr] = {}
    for keyword in keywords or []:
        if keyword.arg is None or keyword.arg in by_name:
            raise ValueError(f"{name}: {ast.unparse(keyword)} is {'not read' if keyword.arg is None else 'written twice'}")
        by_name[keyword.arg] = keyword.value
    try:
        bound = signature.bind(*args, **by_name)
    except TypeError as error:
        raise ValueError(f"{name}: {error}; it takes {', '.join(signature.parameters) or 'no arguments'}") from None
    for key, node in bound.arguments.items():
        hint, kind = hints.get(key, Any), signature.parameters[key].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            bound.arguments[key] = tuple(read(x, hint, f"{name}: {key}") for x in node)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            bound.arguments[key] = {k: read(x, hint, f"{name}: {k}") for k, x in node.items()}
        else:
            bound.arguments[key] = read(node, hint, f"{name}: {key}")
    return part(*bound.args, **bound.kwargs)


def read(node: ast.expr, hint: Any, where: str) -> Any:
    """The value of an argument whose parameter has this annotation."""
    if isinstance(node, ast.Call | ast.Name):
        found: Any = read_part(node, tuple(dict.fromkeys(SEAMS[h] for h in alternatives(hint) if h in SEAMS)) or FAMILIES)
    elif isinstance(node, ast.List | ast.Tuple):
        found = tuple(read(x, Any, where) for x in node.elts)
    else:
        found = plain(node, where)
    for alternative in alternatives(hint):
        if fits(found, alternative):
            return float(found) if alternative is float else found
    raise ValueError(f"{where} is {ast.unparse(node)}, expected {' or '.join(map(expected, alternatives(hint)))}")


def plain(node: ast.expr, where: str) -> Any:
    """A number, string, boolean or None."""
    try:
        found = ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        raise ValueError(f"{where} is {ast.unparse(node)}, which is neither a part nor a plain value") from None
    if isinstance(found, float) and not math.isfinite(found):
        raise ValueError(f"{where} is {ast.unparse(node)}, expected a finite number")
    return found


# ---------------------------------------------------------------------------------------- annotations


def alternatives(hint: Any) -> Iterator[Any]:
    """The members of a union, or the annotation alone."""
    return iter(get_args(hint)) if get_origin(hint) in (Union, UnionType) else iter((hint,))


def fits(found: Any, hint: Any) -> bool:
    """Whether a value is of an annotation that is no union."""
    kind = get_origin(hint) or hint
    if hint is Any or hint is Tasks:
        return hint is Any
    if hint is NoneType or kind in PLAIN:
        try:
            msgspec.convert(found, hint)
        except msgspec.ValidationError:
            return False
        return True
    if kind is Callable or hint in SEAMS:
        return callable(found)
    return isinstance(found, kind)


def expected(hint: Any) -> str:
    """An annotation in a user's words."""
    if hint in SEAMS:
        return f"{a(kind_of(SEAMS[hint]))} such as {example(SEAMS[hint])}"
    words: dict[Any, str] = {int: "a whole number", float: "a number", str: "a string", bool: "True or False", NoneType: "None"}
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    kind = get_origin(hint) or hint
    if kind in PLAIN:
        return words.get(hint, str(hint))
    seen: dict[Any, str] = {Callable: "a function", Schedule: "a schedule", Tasks: "tasks (which only a recipe can give)"}
    return seen.get(kind) or kind.__name__


def kind_of(family: ModuleType) -> str:
    return KINDS[FAMILIES.index(family)]


def a(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def example(family: ModuleType) -> str:
    """The first part of a family that needs no arguments, as a call."""
    names = sorted(family.__all__)
    return next(
        (f"{n}()" for n in names if isinstance(getattr(family, n), type) and takes_none(getattr(family, n))), f"{names[0]}(...)"
    )


def takes_none(part: Any) -> bool:
    """Whether a part can be made without arguments."""
    parameters = inspect.signature(part).parameters.values()
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
