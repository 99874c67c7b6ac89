"""Carries a comparison out: checks every recipe, then does the runs that are not done yet, one after the other."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from journeyman.assemble import Misuse, assembly, build, restart, start
from journeyman.compare.child import Died, run_job
from journeyman.compare.plan import LOCK, Entry, Plan, folder_of, is_new, keep_plan
from journeyman.compare.result import Result, compare_runs, facts_of
from journeyman.store import Store, StoreError
from journeyman.store.lock import FolderLock
from journeyman.strategies import solution


def run_comparison(plan: Plan, out: Path) -> Result:
    """Do what the folder ``out`` lacks of the plan and return the result, which is in compare.json and compare.html too.

    Safe to kill at any moment: the same call continues. A finished run is not run again; one that was begun is resumed;
    one that failed is tried again. Each run gets a process of its own (``child``).
    """
    out = out.resolve()
    directory = Path(plan.directory)
    with chdir(directory if directory.is_dir() else Path.cwd()):
        if new := is_new(plan, out):
            check(plan)
        with assembly():
            out.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(out / LOCK)
            lock.acquire()
        try:
            if new:
                keep_plan(plan, out)
            return compare_runs(plan, out, do_runs(plan, out))
        except KeyboardInterrupt:
            line = f"journeyman: stopped; nothing is lost, continue with journeyman compare --resume {shlex.quote(str(out))}"
            print(f"\n{line}", file=sys.stderr)
            raise SystemExit(130) from None
        finally:
            lock.release()


def is_complete(folder: Path) -> bool:
    return (folder / "result.json").is_file()  # written last of all


# ---------------------------------------------------------------------------------------- the check


def check(plan: Plan) -> None:
    """Assemble every recipe before any work; Misuse for one that cannot run, or could not be compared with the others."""
    found = []
    with TemporaryDirectory() as scratch:
        for entry in plan.entries:
            log = Path(scratch) / "log"
            with shown(f"checking {entry.label}", log) as tick:
                try:
                    found.append(run_job(assembled, entry, plan.budget_tokens, log=log, tick=tick))
                except Died as died:
                    raise Misuse(f"{entry.label}: {died}") from died
    first = found[0]
    for entry, known in zip(plan.entries, found, strict=True):
        for name in ("parameters", "tasks", "exam"):  # a file's recipe may have another base or tasks by default
            if known[name] != first[name]:
                raise Misuse(
                    f"{entry.label} and {plan.entries[0].label} do not have the same {name} ({known[name]}, {first[name]}); "
                    "give them the same --max-tokens and --temperature"
                )
        if known["least"] > plan.budget_tokens:
            raise Misuse(
                f"a budget of {plan.budget_tokens:,} tokens is too small for one step of {entry.label}: its prompts alone are "
                f"{known['least']:,} tokens; write a larger --budget-tokens, or a smaller --batch"
            )


def assembled(entry: Entry, budget_tokens: int) -> dict[str, Any]:
    """In a process of its own: what a recipe comes to. ``least`` is what its first step costs at least, in tokens."""
    run, exam = build(entry.recipe, {**entry.arguments, "seed": 0}, entry.run_options(Path(), budget_tokens))
    ids = hashlib.sha256("\n".join(task.id for task in exam.tasks).encode()).hexdigest()[:12]
    first = [] if isinstance(run.runner.strategy, solution) else run.curriculum.pick(run.batch)
    return {
        "parameters": run.policies[run.runner.actor].parameters,
        "tasks": f"{len(exam.tasks)} held-out tasks, {ids}",
        "exam": f"{exam.k} attempts of {exam.sampling.max_tokens} tokens at temperature {exam.sampling.temperature:g}",
        "least": sum(a.siblings * (1 + len(run.render(a.task.prompt)[0])) for a in first),
    }


# ---------------------------------------------------------------------------------------- the runs


def do_runs(plan: Plan, out: Path) -> dict[tuple[str, int], str]:
    """Do the runs that are not done; the reason of each that failed, by label and seed."""
    todo = [(entry, seed) for entry, seed in plan.runs() if not is_complete(folder_of(out, entry, seed))]
    failures: dict[tuple[str, int], str] = {}
    for i, (entry, seed) in enumerate(todo, 1):
        folder = folder_of(out, entry, seed)
        log = folder.with_name(folder.name + ".log")
        name, began = f"{entry.label} seed {seed}", time.monotonic()
        await_lock(folder)
        with shown(f"[{i}/{len(todo)}] {name}", log) as tick:
            try:
                run_job(do_run, entry, seed, folder, plan.budget_tokens, log=log, tick=tick)
                known = facts_of(folder)
                told = f"pass@1 {known['before']:.1%} to {known['after']:.1%}, {known['spent_tokens']:,.0f} tokens"
            except Died as died:
                failures[entry.label, seed] = str(died)
                told = f"FAILED: {died} (see {log})"
        print(f"[{i}/{len(todo)}] {name}: {told}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return failures


def do_run(entry: Entry, seed: int, folder: Path, budget_tokens: int) -> None:
    """In a process of its own: a run from its beginning, or from where it was."""
    if has_begun(folder):
        restart(folder)
    else:
        start(entry.recipe, {**entry.arguments, "seed": seed}, entry.run_options(folder, budget_tokens))


def has_begun(folder: Path) -> bool:
    """Whether there is a run to resume; one killed before its record was written starts anew."""
    try:
        with Store(folder).open(readonly=True):
            return True
    except StoreError:
        return False  # what is there, if anything, start() judges


def await_lock(folder: Path, seconds: float = 30) -> None:
    """Wait until no process writes the run: that of a comparison that was killed just now is about to end. The run itself
    says so where it does not."""
    lock, end = FolderLock(folder / "run.lock"), time.monotonic() + seconds
    while folder.is_dir() and time.monotonic() < end:
        try:
            lock.acquire()
        except StoreError:
            time.sleep(0.1)
        else:
            lock.release()
            return


@contextmanager
def shown(text: str, log: Path) -> Iterator[Any]:
    """On a terminal: what is being done, and the last line of its log."""
    console = Console(stderr=True)
    if not console.is_terminal:
        print(f"{text} ...", file=sys.stderr, flush=True)
        yield lambda: None
        return
    with console.status(text) as status:
        yield lambda: status.update(f"{text}  [dim]{last_line(log)}[/dim]")


def last_line(log: Path) -> str:
    """The end of a file that may not be there yet, with nothing in it that rich would read as markup."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 2000))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")[:120].replace("[", "(")
