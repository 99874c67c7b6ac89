"""Carries a comparison out: checks every recipe, then does the runs that are not done yet, one or several at a time."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
import time
from collections import deque
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from journeyman.assemble import Misuse, assembly, build, restart, start
from journeyman.compare.child import Child, Died, begin, ended, ending, run_job
from journeyman.compare.display import display, left
from journeyman.compare.plan import LOCK, Entry, Plan, folder_of, is_new, keep_plan
from journeyman.compare.result import Result, compare_runs, facts_of
from journeyman.store import Store, StoreError
from journeyman.store.lock import FolderLock
from journeyman.strategies import solution


def run_comparison(plan: Plan, out: Path, jobs: int = 1) -> Result:
    """Do what the folder ``out`` lacks of the plan and return the result, which is in compare.json and compare.html too.

    Safe to kill at any moment: the same call continues. A finished run is not run again; one that was begun is resumed;
    one that failed is tried again. Each run gets a process of its own (``child``).

    ``jobs`` runs go on at a time, each on its share of the cores (``threads_each``). It is no part of the plan: another number
    may continue. A run repeats bit by bit with the same number of threads only, for sums are split among them: another
    ``jobs`` may change its numbers in their rounding, and with them what is sampled, as another machine may.
    """
    check_jobs(plan, jobs)
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
            return compare_runs(plan, out, do_runs(plan, out, jobs))
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
    with TemporaryDirectory() as scratch, display() as shown:
        for entry in plan.entries:
            text, log = f"checking {entry.label}", Path(scratch) / "log"
            shown.begin(text, log)
            try:
                found.append(run_job(assembled, entry, plan.budget_tokens, log=log))
            except Died as died:
                raise Misuse(f"{entry.label}: {died}") from died
            shown.end(text)
    first = found[0]
    for entry, known in zip(plan.entries, found, strict=True):
        for name in ("parameters", "tasks", "exam"):  # a file's recipe may have another base or tasks by default
            if known[name] != first[name]:
                raise Misuse(
                    f"{entry.label} and {plan.entries[0].label} do not have the same {name} ({known[name]}, {first[name]}); "
                    "give them the same --tasks, --policy and --max-tokens"
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


def check_jobs(plan: Plan, jobs: int) -> None:
    """Refuse so many runs at a time where that cannot be."""
    if jobs < 1:
        raise Misuse(f"--jobs is {jobs}, expected at least 1")
    if jobs > 1 and any("vllm" in entry.options for entry in plan.entries):
        raise Misuse(f"--vllm names a server, which holds the weights of one run at a time: found --jobs {jobs}, write --jobs 1")


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def threads_each(jobs: int) -> int | None:
    """The compute threads of each of so many runs at a time: the cores divided by them, for two processes whose threads are more
    than the cores slow each other down many times. None, which leaves the threads as they are, for a single run, and
    where the user's OMP_NUM_THREADS says how many."""
    return None if jobs == 1 or os.environ.get("OMP_NUM_THREADS") else max(1, cores() // jobs)


@dataclass(frozen=True)
class Due:
    """A run to be done; ``name`` is what it is called on the terminal."""

    name: str
    entry: Entry
    seed: int
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder.with_name(self.folder.name + ".log")


def do_runs(plan: Plan, out: Path, jobs: int) -> dict[tuple[str, int], str]:
    """Do the runs that are not done, started in the plan's order; the reason of each that failed, by label and seed."""
    todo = [(entry, seed) for entry, seed in plan.runs() if not is_complete(folder_of(out, entry, seed))]
    names = [f"[{i}/{len(todo)}] {entry.label} seed {seed}" for i, (entry, seed) in enumerate(todo, 1)]
    waiting = deque(Due(name, *one, folder_of(out, *one)) for name, one in zip(names, todo, strict=True))
    running: dict[Child, tuple[Due, float]] = {}
    failures: dict[tuple[str, int], str] = {}
    took: list[float] = []
    jobs = min(jobs, len(plan.runs()))
    threads = threads_each(jobs)
    if todo and jobs > 1:
        each = f"{os.environ.get('OMP_NUM_THREADS')} (OMP_NUM_THREADS)" if threads is None else threads
        print(f"up to {jobs} runs at a time on {cores()} cores, compute threads of each: {each}", file=sys.stderr, flush=True)
    with display() as shown, ending(running):
        while waiting or running:
            while waiting and len(running) < jobs:
                run, began = waiting.popleft(), time.monotonic()
                await_lock(run.folder)
                shown.begin(run.name, run.log)
                child = begin(do_run, run.entry, run.seed, run.folder, plan.budget_tokens, log=run.log, threads=threads)
                running[child] = run, began
            for child in ended(running, 0.5):
                run, began = running[child]
                try:
                    told = outcome(child, run)
                    took.append(time.monotonic() - began)
                except Died as died:
                    failures[run.entry.label, run.seed] = str(died)
                    told = f"FAILED: {died} (see {run.log})"
                del running[child]
                shown.end(run.name)
                now = time.monotonic()
                ahead = left(took, len(waiting), [now - since for _, since in running.values()], jobs)
                print(f"{run.name}: {told}, {now - began:.0f} s{ahead}", file=sys.stderr, flush=True)
    return {(entry.label, seed): failures[entry.label, seed] for entry, seed in todo if (entry.label, seed) in failures}


def outcome(child: Child, run: Due) -> str:
    """What a run that has ended reached and cost; ``Died`` where it failed."""
    child.result()
    known = facts_of(run.folder)
    return f"pass@1 {known['before']:.1%} to {known['after']:.1%}, {known['spent_tokens']:,.0f} tokens"


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
