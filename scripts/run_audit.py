"""Audit of a run folder: that nothing was lost, doubled or learned twice, found out without the code under audit where that is
possible (plain SQLite), and by learning everything over where it is not. Used by kill_and_resume.py."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from journeyman.assemble import Options, build
from journeyman.loop import train
from journeyman.resume import prepare, state, tensors
from journeyman.run import Run
from journeyman.runner import Forgetful
from journeyman.store import CheckpointError, Store, latest, load_checkpoint
from journeyman.types import Attempt, Group, Task

# ---------------------------------------------------------------------------------------- what the folder holds


@dataclass
class Seen:
    """What a run folder held at one moment: hashes by attempt id, and how far the run was."""

    attempts: dict[str, str] = field(default_factory=dict)
    judgements: dict[str, str] = field(default_factory=dict)
    before: str = ""
    where: str = "start-up"
    fault: str = ""


def look(folder: Path, last: int, since: float) -> Seen:
    """Read the folder as another program would, with plain SQLite. ``since`` is when the life began that just ended."""
    seen, database = Seen(), folder / "run.sqlite"
    if not database.is_file():
        return seen
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'steps'").fetchone():
            return seen
        for row in db.execute("SELECT * FROM attempts"):
            digest = hashlib.sha256(repr(row).encode())
            for trace in db.execute("SELECT * FROM traces WHERE attempt = ? ORDER BY position", (row[0],)):
                digest.update(repr(trace).encode())
            seen.attempts[row[0]] = digest.hexdigest()
        bodies: dict[str, list[bytes]] = {}
        for attempt, body in db.execute("SELECT attempt, body FROM judgements ORDER BY number"):
            bodies.setdefault(attempt, []).append(body)
        seen.judgements = {k: hashlib.sha256(repr(v).encode()).hexdigest() for k, v in bodies.items()}
        steps = db.execute("SELECT step, ended, checkpoint FROM steps WHERE started > ? ORDER BY step", (since,)).fetchall()
        damage = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        saved = db.execute("SELECT 1 FROM steps WHERE step = ? AND checkpoint IS NOT NULL", (last,)).fetchone()
        judged = "SELECT count(*), count(j.attempt) FROM attempts a LEFT JOIN judgements j ON j.attempt = a.id WHERE step = ?"
        made = db.execute(judged, steps[-1][:1]).fetchone() if steps else (0, 0)
    before = folder / "before.json"
    seen.before = before.read_text() if before.exists() else ""
    seen.where = moment(folder, steps, made, bool(saved), bool(seen.before))
    seen.fault = "" if damage == "ok" else f"the store is damaged: {damage}"
    if latest(folder) is not None:
        try:
            seen.fault = load_checkpoint(folder).warning or seen.fault
        except CheckpointError as error:
            seen.fault = str(error)
    return seen


def moment(
    folder: Path, steps: list[tuple[int, float | None, str | None]], made: tuple[int, int], saved: bool, evaluated: bool
) -> str:
    """What a life was doing when it was killed. ``made``: attempts of its last step, and how many of them were judged."""
    if saved:
        return "after the steps"
    if not steps:
        return "start-up or restore" if evaluated else "evaluation before"
    step, ended, _ = steps[-1]
    if any((folder / "checkpoints").glob(".step-*")):
        return f"checkpoint {step}"
    return f"end of step {step}" if ended else f"step {step}: {made[0]} stored, {made[1]} judged"


# ---------------------------------------------------------------------------------------- audit


def compare(then: Seen, now: Seen) -> list[str]:
    """What was there at a kill and is not there, or is not the same, at the end."""
    faults = []
    for what in ("attempts", "judgements"):
        old, new = getattr(then, what), getattr(now, what)
        lost, changed = old.keys() - new.keys(), [k for k in old.keys() & new.keys() if old[k] != new[k]]
        faults += [f"{len(lost)} {what} lost, such as {min(lost)}"] if lost else []
        faults += [f"{len(changed)} {what} changed, such as {min(changed)}"] if changed else []
    if then.before and then.before != now.before:
        faults.append("before.json changed")
    return faults


def count_attempts(folder: Path) -> list[str]:
    """Each step has ordinals without gaps, at least ``batch`` of them and no more than its refills allow, each with all
    siblings once, and every attempt has one judgement of its own."""
    with Store(folder).open(readonly=True) as store:
        record, held = store.record(), list(store.attempts())
    run, _ = build(record["recipe"], record["arguments"], Options(**{**record["options"], "out": folder}))
    faults, places = [], Counter((s.step, s.ordinal, s.sibling) for s in held)
    siblings = run.curriculum.pick(1)[0].siblings
    faults += [f"attempt {p} is there {n} times" for p, n in places.items() if n > 1]
    for step in range(1, run.last + 1):
        ordinals = {p[1] for p in places if p[0] == step}
        n = len(ordinals)
        if ordinals != set(range(n)) or not run.batch <= n <= run.batch * (1 + run.refills):
            faults.append(f"step {step} has tasks {sorted(ordinals)}, expected {run.batch} and at most {run.refills} refills")
        if sum(p[0] == step for p in places) != n * siblings:
            faults.append(f"step {step} has not {siblings} attempts at each of its {n} tasks")
    if extra := {p[0] for p in places} - set(range(1, run.last + 1)):
        faults.append(f"attempts of steps {extra}, which do not exist")
    judged = Counter(sum(j.trace is None for j in s.judgements) for s in held)
    return faults + ([f"judgements an attempt: {dict(judged)}, expected one each"] if set(judged) != {1} else [])


class Replay(Forgetful):
    """A memory that knows every attempt and takes no new one."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def attempt(self, id: str, task: Task) -> Attempt | None:
        step, ordinal, sibling = map(int, id.split("/"))
        found = self.store.attempt(step, ordinal, sibling)
        if found is None or found.task != task.id:
            raise LookupError(f"the replay asks for attempt {id} of task {task.id}, the store has {found and found.task}")
        return found

    def group(self, group: Group) -> Group | None:
        judgements = tuple(self.store.judgements(a.id for a in group.attempts))
        return Group(group.id, group.assignment, group.attempts, judgements)


def replay(folder: Path) -> Run:
    """The run after every step was learned once, in order, from the start weights and what is stored; nothing is sampled."""
    with Store(folder).open(readonly=True) as store:
        record = store.record()
        run, _ = build(record["recipe"], record["arguments"], Options(**{**record["options"], "out": folder}))
        run.memory = Replay(store)
        prepare(run)
        asyncio.run(train(run))
    return run


def weights_hash(found: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + found[name].detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def learned(folder: Path, last: int) -> list[str]:
    """Every step ended and was learned once."""
    with Store(folder).open(readonly=True) as store:
        ended = [s.step for s in store.steps() if s.ended is not None]
        taken = sum(m["optimiser_steps"] for m in store.metrics().values())
    found = load_checkpoint(folder)
    faults = [] if ended == list(range(1, last + 1)) else [f"steps {ended} ended, expected 1 to {last}"]
    updates = found.state["learners"]["policy"]["rounds"]
    if found.warning or not found.step == updates == last:
        faults.append(f"checkpoint of step {found.step} after {updates} updates, expected {last} ({found.warning})")
    if not taken:
        faults.append("nothing was learned, so the audit proves nothing")
    run = replay(folder)
    again, known = tensors(run), state(run)
    odd = [k for k, v in found.tensors.items() if k not in again or not torch.equal(v, again[k].cpu())]
    if odd or again.keys() != found.tensors.keys():
        faults.append(f"{len(odd)} of {len(found.tensors)} tensors are not what learning each step once gives, such as {odd[:1]}")
    faults += [f"{k} in the checkpoint are not what learning each step once gives" for k in known if known[k] != found.state[k]]
    return faults
