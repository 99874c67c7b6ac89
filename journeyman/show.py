"""What the command line shows: a recipe on one page, the catalogue of methods, the result of a run."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

from rich import box
from rich.syntax import Syntax
from rich.table import Table

import journeyman
from journeyman import credit, curricula, feedback, learners, loop, objectives, recipes, strategies
from journeyman.protocols import gives_of, needs_of
from journeyman.run import Run
from journeyman.runner import nested
from journeyman.testing import ScriptedPolicy, adds

PAGE = 70  # lines of a class that are shown whole; of a longer one, the method that the loop calls
KINDS = {
    "strategy": strategies,
    "feedback": feedback,
    "curriculum": curricula,
    "credit": credit,
    "objective": objectives,
    "learner": learners,
    "recipe": recipes,
}


def show_recipe(recipe: Callable[..., Run], name: str) -> Syntax:
    """The recipe, the loop, and the source of each part in the order they run."""
    run = recipe(policy=ScriptedPolicy(adds()))
    sections = [(f"recipe {name}", source(recipe)), ("the loop", source(loop.train) + "\n" + source(loop.collect))]
    seen: set[Any] = set()
    walk = (
        ("curriculum", run.curriculum, "pick"),
        ("strategy", run.runner.strategy, "__call__"),
        ("feedback", run.runner.feedback, "__call__"),
        ("credit", run.credit, "__call__"),
        *(("learner", learner, "update") for learner in run.learners.values()),
        *(("objective", learner.objective, "__call__") for learner in run.learners.values()),
    )
    for kind, part, verb in walk:
        for inner in pieces(part):
            made = inner if isinstance(inner, FunctionType) else type(inner)
            if made not in seen:
                seen.add(made)
                sections.append((f"{kind} {made.__name__}, {where(made)}", source(made, verb)))
    code = "\n\n".join(f"# {'-' * 4} {title}\n\n{text.rstrip()}" for title, text in sections)
    return Syntax(code + "\n", "python", theme="ansi_light", word_wrap=True)


def pieces(part: Any) -> Iterator[Any]:
    """The functions and journeyman's own objects in a part, the part first."""
    yield part
    for inner in nested(part):
        ours = type(inner).__module__.startswith("journeyman.") or isinstance(inner, FunctionType)
        if inner is not part and ours and callable(inner):
            yield inner


def source(made: Any, verb: str = "") -> str:
    """Source of a function or a small class; of a large class, its docstring's first line and the method the loop calls."""
    text = textwrap.dedent(inspect.getsource(made))
    if isinstance(made, type) and text.count("\n") > PAGE and verb:
        method = textwrap.dedent(inspect.getsource(vars(made)[verb]))
        first = (inspect.getdoc(made) or "").split("\n")[0]
        return f"class {made.__name__}:  # {text.count(chr(10))} lines; its {verb}:\n" + textwrap.indent(
            f'"""{first}"""\n\n{method}', "    "
        )
    return text


def where(made: Any) -> str:
    path = Path(inspect.getfile(made))
    root = Path(journeyman.__file__).parent.parent
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


# ---------------------------------------------------------------------------------------- methods


def methods_table() -> tuple[list[dict[str, Any]], Table]:
    """Every part and recipe as JSON rows and as a table."""
    rows = [row(kind, name, getattr(family, name)) for kind, family in KINDS.items() for name in family.__all__]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("kind", "name", "what it does", "needs", "paper"):
        table.add_column(column, overflow="fold")
    for r in rows:
        table.add_row(r["kind"], r["name"], r["summary"], " ".join(r["needs"]), " ".join(r["papers"]))
    return rows, table


def row(kind: str, name: str, part: Any) -> dict[str, Any]:
    """What the code says of itself: the first line of its docstring, its words, the arXiv ids it names."""
    text = inspect.getdoc(part) or ""
    module = inspect.getmodule(part)
    whole = text + "\n" + ((module.__doc__ or "") if module else "")
    declared = part if not isinstance(part, type) or isinstance(vars(part).get("needs"), frozenset) else None
    return {
        "kind": kind,
        "name": name,
        "summary": text.split("\n")[0],
        "needs": sorted(needs_of(declared)),
        "gives": sorted(gives_of(declared)),
        "papers": sorted({f"arXiv:{x}" for x in re.findall(r"arXiv[: ](\d{4}\.\d{4,5})", whole)}),
        "file": where(part) if isinstance(part, FunctionType | type) else where(type(part)),
        "seed_id": sorted(set(re.findall(r"\bS\d{3}\b", whole))),
    }


# ---------------------------------------------------------------------------------------- results


def result_table(result: Mapping[str, Any]) -> Table:
    """Held-out accuracy before and after, with intervals, overall and by family and level."""
    before, after, change = result["before"], result["after"], result["change"]
    k = after["k"]
    table = Table(title="held-out accuracy", box=box.SIMPLE_HEAD, pad_edge=False)
    columns = ("", "tasks", "pass@1 before", "pass@1 after", *([f"pass@{k} before", f"pass@{k} after"] if k > 1 else []))
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)

    def add(name: str, old: Mapping[str, Any], new: Mapping[str, Any], style: str = "") -> None:
        shown = [percent(old["pass_1"]), percent(new["pass_1"])]
        shown += [percent(old["pass_k"]), percent(new["pass_k"])] if k > 1 else []
        table.add_row(name, str(new["n_tasks"]), *shown, style=style)

    add("all", before["overall"], after["overall"], "bold")
    if len(after["cells"]) > 1:
        for old, new in zip(before["cells"], after["cells"], strict=True):
            add(f"{new['family']}, level {new['level']}", old, new)
    points = f"{100 * change['mean']:+.1f} [{100 * change['low']:+.1f}, {100 * change['high']:+.1f}]"
    table.caption = f"change {points} points; 95 % intervals, clustered by task, paired"
    table.caption_justify = "left"
    return table


def percent(estimate: Mapping[str, float]) -> str:
    return f"{100 * estimate['mean']:.1f} [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"
