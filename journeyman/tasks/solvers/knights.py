"""knights_knaves: each statement in signs, then the assignments one a line until one agrees with every statement.

The first line gives each person a letter. ``1: Mia b & Leo -c`` says that the first person claims: the second tells the
truth and the third lies (``|`` or, ``>`` if-then, ``~`` if and only if, ``-`` not). ``TFF: F&T=F no`` supposes that the first
tells the truth and the others lie, evaluates one statement after the other under that, parentheses first, and ends with
``no`` at the first whose value is not what its speaker is supposed to be, or with ``yes``. Several paths: assignments in any
order, after the statements or without them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from typing import Any

from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.steps import Solver, join, squeeze, walk

_LINE = re.compile(r"([TF]+): \S+(?: \S+)* (?:yes|no)")
_SIGNS = {"and": "&", "or": "|", "->": ">", "<=>": "~"}
Tree = str | tuple[Any, ...]  # "T", "F", "b", "-b", or (kind, tree, ...)


def _tree(statement: tuple[Any, ...]) -> Tree:
    """The statement as the question words it: the negation of a person's honesty is the other term."""
    kind, *parts = statement
    if kind in ("telling-truth", "lying"):
        return f"{'' if kind == 'telling-truth' else '-'}{'abcdefgh'[parts[0]]}"
    if kind not in ("not", *_SIGNS):
        raise ValueError(f"unknown statement kind {kind!r}: expected telling-truth, lying, not, and, or, -> or <=>")
    trees = [_tree(part) for part in parts]
    if kind == "not" and isinstance(trees[0], str):
        return trees[0][1:] if trees[0][0] == "-" else f"-{trees[0]}"
    return (kind, *trees)


def _show(tree: Tree, names: Sequence[str] = (), top: bool = True) -> str:
    """A tree in signs; given names, each person's stands before the letter."""
    if isinstance(tree, str):
        return f"{names['abcdefgh'.index(tree[-1])]} {tree}" if names else tree
    kind, *parts = tree
    inner = [_show(part, names, False) for part in parts]
    shown = "-" + inner[0] if kind == "not" else (f" {_SIGNS[kind]} " if names else _SIGNS[kind]).join(inner)
    return shown if top or kind == "not" else f"({shown})"


def _suppose(tree: Tree, truth: tuple[bool, ...]) -> Tree:
    """The tree with T and F for the people."""
    if isinstance(tree, str):
        return "T" if truth["abcdefgh".index(tree[-1])] != (tree[0] == "-") else "F"
    return (tree[0], *(_suppose(part, truth) for part in tree[1:]))


def _reduce(tree: Tree) -> Tree:
    """The tree with its innermost parts replaced by their values."""
    if isinstance(tree, str):
        return tree
    kind, *parts = tree
    if not all(isinstance(part, str) for part in parts):
        return (kind, *map(_reduce, parts))
    v = [part == "T" for part in parts]
    whole = {"not": not v[0], "and": all(v), "or": any(v), "->": not v[0] or v[-1], "<=>": v[0] == v[-1]}[kind]
    return "T" if whole else "F"


def _letters(truth: tuple[bool, ...]) -> str:
    return "".join("T" if t else "F" for t in truth)


def _line(entry: Entry, truth: tuple[bool, ...]) -> str:
    shown = []
    for statement, honest in zip(entry["metadata"]["statements"], truth, strict=True):
        tree = _suppose(_tree(statement), truth)
        work = [_show(tree)]
        while not isinstance(tree, str):
            tree = _reduce(tree)
            work.append(_show(tree))
        shown.append("=".join(work))
        if (tree == "T") != honest:
            return f"{_letters(truth)}: {' '.join(shown)} no"
    return f"{_letters(truth)}: {' '.join(shown)} yes"


def _said(entry: Entry) -> list[str]:
    m = entry["metadata"]
    trees = [_tree(statement) for statement in m["statements"]]
    letters = " ".join(f"{letter} {name}" for letter, name in zip("abcdefgh", m["names"], strict=False))
    return [letters, *(f"{k + 1}: {_show(tree, m['names'])}" for k, tree in enumerate(trees))]


def _answer(entry: Entry) -> str:
    m = entry["metadata"]
    terms = m["knight_knave_terms"]
    people = [f"{name} is {terms['a_knight' if t else 'a_knave']}" for name, t in zip(m["names"], m["solution"], strict=True)]
    return ", ".join(people[:-1]) + ", and " + people[-1]


def solve(entry: Entry) -> str:
    """See ``steps.Solver``."""
    lines = _said(entry)
    for truth in product((True, False), repeat=len(entry["metadata"]["statements"])):
        lines.append(_line(entry, truth))
        if lines[-1].endswith("yes"):
            break
    return join(lines, _answer(entry))


def first_wrong_step(entry: Entry, text: str) -> int | None:
    """See ``steps.Solver``; a line is right when it is true and new, in any order. People may be named in any order."""
    count, said = len(entry["metadata"]["statements"]), _said(entry)
    tried: set[str] = set()

    def right(step: str) -> bool:
        if squeeze(step) in said and squeeze(step) not in tried:
            tried.add(squeeze(step))
            return True
        found = _LINE.fullmatch(squeeze(step))
        if found is None or len(found.group(1)) != count or found.group(1) in tried:
            return False
        tried.add(found.group(1))
        return squeeze(step) == _line(entry, tuple(letter == "T" for letter in found.group(1)))

    def people(content: str) -> list[str]:
        return sorted(re.split(r",?\s+and\s+|,\s*", squeeze(content).rstrip(".")))

    return walk(text, right, lambda content: people(content) == people(_answer(entry)))


knights_knaves = Solver(solve, first_wrong_step)
