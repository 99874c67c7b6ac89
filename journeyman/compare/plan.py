"""What is compared: recipes with their flags, seeds and budget, as the user wrote them and as the folder keeps them."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cyclopts
import msgspec

from journeyman.assemble import Misuse, Options, assembly, find_recipe, write_json
from journeyman.flags import command, flags_of, flags_of_fields
from journeyman.types import to_json

FILE, LOCK = "comparison.json", "compare.lock"
# What makes runs comparable is said once, for all recipes.
SHARED = ("policy", "tasks", "eval_tasks", "eval_n", "eval_k", "eval_temperature", "extract", "system", "device", "dtype")
# What the comparison itself says.
OWN = {"seed": "--seeds N", "out": "--out DIR", "budget_tokens": "--budget-tokens N"}


@dataclass(frozen=True)
class Entry:
    """One side of a comparison: a recipe with its arguments and the options of its runs."""

    label: str
    recipe: str
    arguments: dict[str, Any]
    options: dict[str, Any]

    def run_options(self, out: Path, budget_tokens: int) -> Options:
        return Options(out=out, budget_tokens=budget_tokens, **self.options)


@dataclass(frozen=True)
class Plan:
    """A comparison. Seeds are 0 to ``seeds`` - 1; paths among the arguments are relative to ``directory``."""

    entries: tuple[Entry, ...]
    seeds: int
    budget_tokens: int
    directory: str

    def runs(self) -> list[tuple[Entry, int]]:
        """Every run, seed by seed, so that a comparison that is stopped early has whole pairs."""
        return [(entry, seed) for seed in range(self.seeds) for entry in self.entries]


def folder_of(out: Path, entry: Entry, seed: int) -> Path:
    """Where a run of the comparison in ``out`` lives."""
    return out / "runs" / f"{entry.label}-{seed}"


# ---------------------------------------------------------------------------------------- what was written


def plan_of(written: Sequence[str], shared: Sequence[str], seeds: int, budget_tokens: int) -> Plan:
    """The plan of what a user wrote: recipes such as "grpo" or "grpo --lr 1e-3", and flags for all of them."""
    for name, found in (("seeds", seeds), ("budget-tokens", budget_tokens)):
        if found < 1:
            raise Misuse(f"--{name} is {found}, expected at least 1")
    if len(written) < 2:
        raise Misuse(f"a comparison needs at least two recipes, found {len(written)}; write journeyman compare grpo rloo ...")
    labels = labels_of(written)
    entries = [entry_of(label, text, shared) for label, text in zip(labels, written, strict=True)]
    return Plan(tuple(entries), seeds, budget_tokens, str(Path.cwd()))


def labels_of(written: Sequence[str]) -> list[str]:
    """A name for each recipe that can be a folder's: what was written, without dashes and a file's suffix. Two of the
    same recipe with other flags differ by these; the very same thing twice is refused."""
    texts = [shlex.join(shlex.split(text)) for text in written]
    if twice := [text for text, count in Counter(texts).items() if count > 1]:
        raise Misuse(f"{twice[0]!r} is written twice; a comparison of a recipe with itself gives it other flags")
    labels = []
    for text in texts:
        name, *words = shlex.split(text)
        parts = [Path(name).stem, *(w.lstrip("-") for w in words)]
        labels.append("_".join("".join(c if c.isalnum() or c in ".+-=" else "-" for c in part) for part in parts)[:80])
    if twice := [label for label, count in Counter(labels).items() if count > 1]:
        raise Misuse(f"two recipes would both be called {twice[0]!r}; give the files other names, or the flags other values")
    return labels


def entry_of(label: str, text: str, shared: Sequence[str]) -> Entry:
    """A recipe with its own flags and the shared ones."""
    name, *own = shlex.split(text)
    path = str(Path(name).resolve()) if name.endswith(".py") else name
    mine = read_words(path, text, own)
    for key in SHARED:
        if key in mine[0] or key in mine[1]:
            flag = key.replace("_", "-")
            raise Misuse(f"{text!r}: --{flag} is the same for all that is compared; write it outside the quotes")
    arguments, options = read_words(path, text, [*own, *shared])
    for key, write in OWN.items():
        if key in arguments or key in options:
            raise Misuse(
                f"{text!r}: --{key.replace('_', '-')} is not a flag of a single run here; write {write}, once for all runs"
            )
    return Entry(label, path, arguments, options)


def read_words(recipe: str, text: str, words: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A recipe's arguments and options among these words."""
    with assembly():
        own, options = flags_of(find_recipe(recipe)), flags_of_fields(Options)
    optional = [p if p.default is not p.empty else p.replace(default=None) for p in options]
    if "seed" not in {p.name for p in own}:
        raise Misuse(
            f"{text!r} has no argument seed, so its runs would all be the same; give recipe(...) an argument seed: int = 0"
        )
    got: dict[str, Any] = {}
    app = cyclopts.App(name=text, help_flags=[], version_flags=[])
    app.default(command("run", None, [*own, *optional], got.update))
    try:
        called, bound, _ = app.parse_args(list(words), exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        raise Misuse(f"{text!r}: {' '.join(str(error).split())}") from error
    called(*bound.args, **bound.kwargs)
    names = {p.name for p in options}
    given = {k: v for k, v in got.items() if v is not None}
    return {k: v for k, v in given.items() if k not in names}, {k: v for k, v in given.items() if k in names}


# ---------------------------------------------------------------------------------------- what the folder keeps


def is_new(plan: Plan, out: Path) -> bool:
    """Whether the folder is new or empty; false where it holds this very plan. Misuse where it holds another, or something
    else."""
    if (out / FILE).is_file():
        known = read_plan(out)
        if known != plan:
            told = differs(known, plan)
            raise Misuse(f"{out} holds another comparison ({told}); name another --out, or continue it with --resume {out}")
        return False
    if out.exists() and not out.is_dir():
        raise Misuse(f"{out} is a file; --out names a new or empty folder")
    if out.exists() and (found := sorted(p.name for p in out.iterdir() if p.name != LOCK)):
        raise Misuse(
            f"{out} is not empty and holds no comparison (found {', '.join(found[:5])}); name a new or empty folder with --out"
        )
    return True


def keep_plan(plan: Plan, out: Path) -> None:
    """Write the plan into its folder."""
    write_json(out / FILE, msgspec.json.decode(to_json(plan)))


def read_plan(out: Path) -> Plan:
    """The plan that a folder holds."""
    if not (out / FILE).is_file():
        raise Misuse(f"{out} holds no comparison (no {FILE} in it); start one with journeyman compare RECIPE RECIPE --out {out}")
    try:
        return msgspec.json.decode((out / FILE).read_bytes(), type=Plan)
    except msgspec.DecodeError as error:
        raise Misuse(f"{out / FILE} is not the plan of a comparison: {error}") from error


def differs(known: Plan, plan: Plan) -> str:
    """The first thing in which two plans differ."""
    for name, old, new in (
        ("recipes", [e.label for e in known.entries], [e.label for e in plan.entries]),
        ("seeds", known.seeds, plan.seeds),
        ("budget", known.budget_tokens, plan.budget_tokens),
        ("directory", known.directory, plan.directory),
    ):
        if old != new:
            return f"its {name}: {json.dumps(old)}, now {json.dumps(new)}"
    return "its recipes have other flags"
