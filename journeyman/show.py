"""What the command line shows: a recipe on one page, the catalogue of methods, the result of a run."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from rich import box
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

import journeyman
from journeyman import credit, curricula, feedback, learners, loop, objectives, recipes, strategies
from journeyman.bench import Rate
from journeyman.protocols import Part, gives_of, needs_of
from journeyman.run import Run
from journeyman.runner import nested
from journeyman.testing import ScriptedPolicy, adds

PAGE = 32  # lines of a class that are shown whole; of a longer one, the method that the loop calls
SHORT = 6  # lines of a method that does little but call others of its class: those are shown with it
BOOKKEEPING = {"needs", "gives", "skips_zero", "__post_init__", "state_dict", "load_state_dict"}  # left out of what is shown
WORD = re.compile(r"[A-Za-z_]\w*")
CALL = re.compile(r"[A-Za-z_]\w*(\(.*\))?", re.DOTALL)
CODE = re.compile(r"`[^`\n]+`|\"[^\"\n]+\"|\b\w+(?=\()|^(?:\$|python) .*$|^\| *[\w .=-]+\|", re.MULTILINE)
RUN_FILES = {".md", ".txt", ".log", ".json", ".sh", ".toml"}  # of runs/, those that say what was run
PARAMETERS = re.compile(r'\n\n +Parameters\n +-{3,}\n.*?(?=\n +""")', re.DOTALL)
LARGEST = 1_000_000  # bytes of such a file that is read
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
    models = {"policy", "guide"} & inspect.signature(recipe).parameters.keys()
    run = recipe(**{role: ScriptedPolicy(adds(), role) for role in models})
    sections = [(f"recipe {name}", source(recipe)), ("the loop", source(loop.train) + "\n" + source(loop.collect))]
    seen: set[Any] = set()
    objectives_of_run = [x.objective for x in run.learners.values()]
    within = {id(x) for objective in objectives_of_run for x in pieces(objective)}
    walk = (
        ("curriculum", run.curriculum, "pick"),
        ("strategy", run.runner.strategy, "__call__"),
        ("feedback", run.runner.feedback, "__call__"),
        ("credit", run.credit, "__call__"),
        *(("learner", learner, "update") for learner in run.learners.values()),
        *(("objective", objective, "__call__") for objective in objectives_of_run),
    )
    for kind, part, verb in walk:
        for inner in pieces(part):
            if kind == "learner" and id(inner) in within:
                continue
            for made in (kind_of(inner), *called(kind_of(inner), KINDS[kind])):
                if made not in seen:
                    seen.add(made)
                    sections.append((f"{kind} {made.__name__}, {where(made)}", source(made, verb)))
    code = "\n\n".join(f"# {'-' * 4} {title}\n\n{text.rstrip()}" for title, text in sections)
    return Syntax(code + "\n", "python", theme="ansi_light", word_wrap=True)


def kind_of(part: Any) -> Any:
    """What holds a part's source: a function itself, else its class."""
    return part if isinstance(part, FunctionType) else type(part)


def pieces(part: Any) -> Iterator[Any]:
    """The parts and functions in a part, the part first."""
    yield part
    for inner in nested(part):
        if inner is not part and isinstance(inner, Part | FunctionType):
            yield inner


def called(made: Any, family: ModuleType) -> list[Any]:
    """The other parts of its family that the source of a part names: what it does its work with."""
    words = {node.id for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(made)))) if isinstance(node, ast.Name)}
    used = (getattr(family, name) for name in family.__all__ if name in words & vars(inspect.getmodule(made)).keys())
    defaults = {kind_of(x) for x in vars(made).values()} if isinstance(made, type) else set()
    return [x for x in used if x is not made and x not in defaults]


def source(made: Any, verb: str = "") -> str:
    """Source of a function or a small class, without its bookkeeping; of a large class, its docstring's first line and the
    method the loop calls (with those that it calls in turn, where it does little else)."""
    text = textwrap.dedent(inspect.getsource(made))
    text = PARAMETERS.sub("", text)  # `journeyman run RECIPE --help` says what they mean
    if not isinstance(made, type):
        return re.sub(r"^@declare\(.*\)\n", "", text)
    lines = text.split("\n")
    body = ast.parse(text).body[0].body  # type: ignore[attr-defined]
    hidden = {i for node in body if BOOKKEEPING & names_of(node) for i in span(node)}
    kept = [line for i, line in enumerate(lines, 1) if i not in hidden]
    shown = re.sub(r"\n{3,}(?=    )", "\n\n", "\n".join(kept))
    methods = {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    verb = verb if verb in methods else "__call__"
    if shown.count("\n") <= PAGE or verb not in methods:
        return shown
    chosen = [verb]
    if len(span(methods[verb])) < SHORT:
        chosen += [name for name in methods if f"self.{name}(" in "\n".join(lines[i - 1] for i in span(methods[verb]))]
    parts = ["\n".join(lines[i - 1] for i in span(methods[name])) for name in chosen]
    first = (inspect.getdoc(made) or "").split("\n")[0]
    head = f"class {made.__name__}:  # {text.count(chr(10))} lines; its {' and '.join(chosen)}:"
    return f'{head}\n    """{first}"""\n\n' + "\n\n".join(parts)


def names_of(node: ast.stmt) -> set[str]:
    """The names that a statement in a class body binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {t.id for t in targets if isinstance(t, ast.Name)}


def span(node: Any) -> range:
    """The lines of a statement, its decorators included."""
    return range(min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]), node.end_lineno + 1)


def where(made: Any) -> str:
    path = Path(inspect.getfile(made))
    root = Path(journeyman.__file__).parent.parent
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


# ---------------------------------------------------------------------------------------- methods


def methods_table() -> tuple[list[dict[str, Any]], Table]:
    """Every part and recipe as JSON rows and as a table."""
    evidence = mentions()
    rows = [row(kind, name, getattr(family, name), evidence) for kind, family in KINDS.items() for name in family.__all__]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("name", "what it does", "paper (arXiv)"):
        table.add_column(column, no_wrap=column == "name", max_width=13 if column.startswith("paper") else None)
    for kind in KINDS:
        own = [r for r in rows if r["kind"] == kind]
        table.add_row(Text(f"{kind} ({len(own)})", style="bold"))
        for r in own:
            papers = " ".join(x.removeprefix("arXiv:") for x in r["papers"])
            table.add_row(f"  {r['name']}", Text(r["summary"]), papers, end_section=r is own[-1])
    return rows, table


def row(kind: str, name: str, part: Any, evidence: Sequence[tuple[str, set[str]]]) -> dict[str, Any]:
    """What the code says of itself: the first line of its docstring, its words, the arXiv ids it names. ``evidence`` are the
    tests and runs with the names in each; those that name the part are listed."""
    text = inspect.getdoc(part) or ""
    module = inspect.getmodule(part)
    whole = text + "\n" + ((module.__doc__ or "") if module else "")
    return {
        "kind": kind,
        "name": name,
        "summary": first_sentence(text),
        "needs": sorted(needs_of(part)) if states(part, "needs") else [],
        "gives": sorted(gives_of(part)) if states(part, "gives") else [],
        "papers": sorted({f"arXiv:{x}" for x in re.findall(r"arXiv[: ](\d{4}\.\d{4,5})", whole)}),
        "file": where(part) if isinstance(part, FunctionType | type) else where(type(part)),
        "seed_id": sorted(set(re.findall(r"\bS\d{3}\b", whole))),
        "status": "implemented",
        "evidence": [path for path, names in evidence if name in names],
    }


def states(part: Any, words: str) -> bool:
    """Whether a part says its words without being made (a class whose words depend on its fields does not)."""
    return not isinstance(part, type) or isinstance(vars(part).get(words), frozenset)


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line ("Dr." and "al." end none)."""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[\w`)\]]{3}\.) ", paragraph, maxsplit=1)[0]


def mentions() -> list[tuple[str, set[str]]]:
    """For each test and each published run beside the package (none where it is installed without them), the names in it:
    of a Python file those that its code uses or writes as a call in a string, of any other text the words in code: of a command,
    between quotes or backticks, before a bracket, or at the head of a table's row."""
    root = Path(journeyman.__file__).parent.parent
    found = [(path, used_names(path.read_text(encoding="utf-8"))) for path in sorted((root / "tests").rglob("*.py"))]
    logs = [p for p in sorted((root / "runs").rglob("*")) if p.suffix in RUN_FILES and p.stat().st_size <= LARGEST]
    found += [(path, written_names(path.read_text(encoding="utf-8", errors="replace"))) for path in logs]
    return [(str(path.relative_to(root)), names) for path, names in found]


def written_names(text: str) -> set[str]:
    """The identifiers in the code of a text: "within" a sentence names no part, and `within` does."""
    return {word for found in CODE.finditer(text) for word in WORD.findall(found[0])}


def used_names(code: str) -> set[str]:
    """The identifiers of Python code, imports and attributes included, and those of strings such as "vote(n=2)" or "grpo"."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and CALL.fullmatch(node.value):
            found |= set(WORD.findall(node.value))
    return found


# ---------------------------------------------------------------------------------------- results


def result_table(result: Mapping[str, Any]) -> Table:
    """Held-out accuracy before and after, with intervals, overall and by family and level, for a terminal of 80 columns."""
    before, after, change = result["before"], result["after"], result["change"]
    k = after["k"]
    table = Table(title="accuracy in percent, with 95 % intervals", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", overflow="fold")
    for name in ("n", "pass@1 before", "after", *([f"pass@{k} before", "after"] if k > 1 else [])):
        table.add_column(name, justify="right", no_wrap=True)

    def add(name: str, old: Mapping[str, Any], new: Mapping[str, Any], style: str = "", end: bool = False) -> None:
        pairs = [(old["pass_1"], new["pass_1"]), *([(old["pass_k"], new["pass_k"])] if k > 1 else [])]
        table.add_row(Text(name), str(new["n_tasks"]), *(percent(x) for pair in pairs for x in pair), style=style, end_section=end)

    add("all", before["overall"], after["overall"], "bold", end=True)
    old_cells = {(c["family"], c["level"]): c for c in before["cells"]}
    families = after["families"]
    for family, new in families.items():
        if len(families) > 1:
            add(family or "(no source)", before["families"][family], new)
        cells = [c for c in after["cells"] if c["family"] == family]
        for cell in cells if len(cells) > 1 else ():
            name = f"{'  ' if len(families) > 1 else ''}level {cell['level']}"
            add(name, old_cells[family, cell["level"]], cell)
    low, high = 100 * change["low"], 100 * change["high"]
    points = f"pass@1 changed by {100 * change['mean']:+.1f} points ({low:+.1f} to {high:+.1f}, 95 %, paired by task)"
    table.caption = f"{points}; intervals are clustered by task"
    table.caption_justify = "left"
    return table


def percent(estimate: Mapping[str, float]) -> str:
    """12.3  10-15: an accuracy and its interval, in percent."""
    interval = f"{100 * estimate['low']:.0f}-{100 * estimate['high']:.0f}"
    return f"{100 * estimate['mean']:.1f} {interval:>6}"


def rates_table(rates: Sequence[Rate], limit: Mapping[str, float], setting: str) -> Table:
    """What ``journeyman bench`` measured in this setting, beside the machine's limit."""
    table = Table(
        title=f"this machine: {limit['gflops']:,.0f} GFLOP/s, {limit['gbytes']:.0f} GB/s",
        caption=f"{setting}; the machine's limits are a product in that dtype and a copy; operations of attention are not counted",
        box=box.SIMPLE_HEAD,
    )
    for column in ("workload", "tokens/s", "min-max", "GFLOP/s", "of limit", "reading saved"):
        table.add_column(column, justify="left" if column == "workload" else "right")
    for r in rates:
        share = f"{100 * r.gflops / limit['gflops']:.0f} %"
        table.add_row(r.name, f"{r.median:,.0f}", f"{r.low:,.0f}-{r.high:,.0f}", f"{r.gflops:.0f}", share, f"{100 * r.saved:.0f} %")
    return table
