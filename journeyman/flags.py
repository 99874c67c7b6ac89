"""Flags of generated commands: from the signature of a recipe, or the fields of a dataclass, to what cyclopts reads."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import cyclopts
import docstring_parser
from cyclopts import Parameter

# What recipes' arguments of these names mean, where a recipe's own docstring does not say.
COMMON = {
    "policy": "Model folder (Hugging Face format), or base for the model that comes with the package.",
    "tasks": "What to train on: gym:FAMILY@LEVELS, or a .jsonl file.",
    "feedback": "The verifier, such as exact() or math_equal(); auto fits the tasks.",
    "strategy": "The expert, such as sample, vote(n=16) or best_of_n(n=8).",
    "steps": "How many steps.",
    "batch": "Tasks a step.",
    "siblings": "Attempts at each task.",
    "lr": "Learning rate.",
    "max_tokens": "Longest answer in tokens.",
    "temperature": "Sampling temperature; 0 is greedy.",
    "seed": "Seed of all random numbers.",
}


def plain(kind: Callable[[str], Any], tokens: Sequence[cyclopts.Token]) -> Any:
    """The word read as a number; without a text in the error, cyclopts says what it was and what it should be."""
    try:
        return kind(tokens[0].value)
    except ValueError:
        raise ValueError from None


def whole(type_: Any, tokens: Sequence[cyclopts.Token]) -> int:
    """A whole number (cyclopts itself would round 1.5 to 2)."""
    return plain(int, tokens)


def finite(type_: Any, tokens: Sequence[cyclopts.Token]) -> float:
    """A number that is neither infinite nor NaN."""
    found = plain(float, tokens)
    if not math.isfinite(found):
        raise ValueError
    return found


CONVERTERS: Mapping[Any, Callable[..., Any]] = {int: whole, float: finite}
Whole = Annotated[int, Parameter(converter=whole)]
Real = Annotated[float, Parameter(converter=finite)]
Json = Annotated[bool, Parameter(name="--json", negative=())]


def flag(name: str, hint: Any, default: Any, said: str | None) -> inspect.Parameter:
    """A keyword of a generated command."""
    inner = [h for h in get_args(hint) if h is not NoneType] if NoneType in get_args(hint) else [hint]
    negative = () if default is False else None  # a flag that is off needs no --no-flag
    annotation = Annotated[hint, Parameter(help=said, converter=CONVERTERS.get(inner[0]), negative=negative)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def flags_of_fields(made: type, doc: str = "") -> list[inspect.Parameter]:
    """The fields of a dataclass as flags, with the strings under them, or what ``doc`` says of them, as their help."""
    hints = get_type_hints(made)
    told = [*docstring_parser.parse_from_object(made).params, *docstring_parser.parse(inspect.cleandoc(doc)).params]
    said = {p.arg_name: p.description for p in told}
    empty = inspect.Parameter.empty
    by_name = {f.name: empty if f.default is MISSING else f.default for f in fields(made)}
    return [flag(name, hints[name], default, said.get(name)) for name, default in by_name.items()]


def words_of(said: docstring_parser.DocstringParam) -> str | None:
    """What a docstring says of a parameter. "name: text" under Parameters, as the recipes write it, reads as a name with its type,
    and what goes on in the next line as the description; a type is one word."""
    first, rest = said.type_name or "", said.description or ""
    return (f"{first} {rest}" if rest and len(first.split()) > 1 else rest or first) or None


def flags_of(recipe: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a recipe as flags: numbers, booleans and choices by their annotation, all else as text."""
    try:
        hints = get_type_hints(recipe)
    except NameError:  # a user's file may import names for type checkers only; defaults then say the types
        hints = {}
    said = {p.arg_name: words_of(p) for p in docstring_parser.parse(inspect.getdoc(recipe) or "").params}
    found = []
    for p in inspect.signature(recipe).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise ValueError(f"a recipe names its arguments, so that they can be flags: found {p}")
        hint = hints.get(p.name, type(p.default))
        kinds = [h for h in get_args(hint) or (hint,) if h in (int, float, bool, str)]
        written = hint if get_origin(hint) is Literal or hint in kinds else kinds[0] if kinds else str
        found.append(
            flag(p.name, written | None if p.default is None else written, p.default, said.get(p.name, COMMON.get(p.name)))
        )
    return found


def command(name: str, doc: str | None, flags: Sequence[inspect.Parameter], do: Callable[..., None]) -> Callable[..., None]:
    """A command with these flags that calls ``do`` with what was written, as a dict. What ``doc`` says of parameters is left
    out of its help, which says it flag by flag."""

    def run(**arguments: Any) -> None:
        do(arguments)

    parsed = docstring_parser.parse(inspect.cleandoc(doc or ""))
    run.__doc__ = "\n\n".join(filter(None, (parsed.short_description, parsed.long_description)))
    run.__signature__ = inspect.Signature(sorted(flags, key=lambda p: p.default is not p.empty))  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in flags}
    run.__name__ = name
    return run
