"""The run store: every finished attempt in one SQLite file, before anything uses it.

Each write is one transaction in write-ahead-log mode with ``synchronous = NORMAL``: a commit is in the operating
system's page cache when the call returns. SIGKILL ends the process, not the kernel, so a committed attempt survives
it, and a frame torn by the kill fails its checksum and is dropped when the file is next opened. What NORMAL gives up
is the last commits before a power cut, never consistency; ``end_step`` syncs to disk, so a power cut costs at most
the current step. Readers (reports, exports) open the same file at the same time and never block the writer.
The file system must be local: SQLite's log needs shared memory.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from journeyman.store.codec import StoreError, pack, printable, unpack
from journeyman.store.lock import FolderLock
from journeyman.types import Attempt, Judgement, Task, Trace

FORMAT = 1  # PRAGMA user_version: raised when a column changes meaning
APPLICATION = 0x6A6F7572  # "jour": PRAGMA application_id, so that another program's run.sqlite is not mistaken for ours
PAGE = 64  # attempts fetched at a time when all are read

SCHEMA = """
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE steps (step INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL, checkpoint TEXT);
CREATE TABLE metrics (step INTEGER NOT NULL, name TEXT NOT NULL, value REAL, PRIMARY KEY (step, name)) WITHOUT ROWID;
CREATE TABLE tasks (id TEXT PRIMARY KEY, source TEXT NOT NULL, level INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE attempts (
    id TEXT PRIMARY KEY, step INTEGER NOT NULL, ordinal INTEGER NOT NULL, sibling INTEGER NOT NULL,
    task TEXT NOT NULL REFERENCES tasks (id), error TEXT, text TEXT, prompt_tokens INTEGER NOT NULL,
    sampled_tokens INTEGER NOT NULL, calls INTEGER NOT NULL, compute REAL NOT NULL, seconds REAL NOT NULL,
    body BLOB NOT NULL, UNIQUE (step, ordinal, sibling));
CREATE TABLE traces (
    attempt TEXT NOT NULL REFERENCES attempts (id), position INTEGER NOT NULL, id TEXT NOT NULL, policy TEXT NOT NULL,
    role TEXT NOT NULL, stop_reason TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (attempt, position));
CREATE TABLE judgements (
    number INTEGER PRIMARY KEY, attempt TEXT NOT NULL REFERENCES attempts (id), trace TEXT, score REAL,
    status TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX judgements_attempt ON judgements (attempt);
"""


@dataclass(frozen=True)
class Stored:
    """An attempt as the store holds it, with its place, its task and its judgements."""

    step: int
    ordinal: int
    sibling: int
    task: Task
    attempt: Attempt
    judgements: tuple[Judgement, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of ``Store.listing``: an attempt's place, its task's id, source and level, and what became of it. ``score`` is
    that of its first judgement as a whole, None where there is none; ``task`` only where the listing was asked for ids."""

    step: int
    ordinal: int
    sibling: int
    id: str
    task_id: str
    source: str
    level: int
    failed: bool  # it ended with an error
    score: float | None
    task: Task | None = None


@dataclass(frozen=True)
class Step:
    """A step's times (seconds since 1970; ``ended`` None while it runs) and the name of its checkpoint, if saved."""

    step: int
    started: float
    ended: float | None
    checkpoint: str | None


class Store:
    """The run store in ``folder``: ``Store(folder).create(record)`` starts one, ``Store(folder).open()`` resumes it,
    ``Store(folder).open(readonly=True)`` reads it, also while another process writes. Also a context manager.

    Calls are synchronous and short (benchmarked in tests/store/test_store_speed.py); use one Store from one thread.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.path = self.folder / "run.sqlite"
        self._lock = FolderLock(self.folder / "run.lock")
        self._connection: sqlite3.Connection | None = None

    # ------------------------------------------------------------------------------------ opening

    def create(self, record: Mapping[str, Any]) -> Store:
        """Start a run in a new or empty folder. ``record`` (plain JSON values; "recipe" is required) is what rebuilds
        it: recipe, arguments, source hash, versions. "started" is added. StoreError where the folder is taken."""
        if "recipe" not in record:
            raise ValueError(f'a run record names its "recipe": found only {sorted(record)}')
        record = {"started": datetime.now(UTC).isoformat(timespec="seconds"), **record}
        rows = [(key, json.dumps(value)) for key, value in record.items()]
        self._refuse_taken()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            self._connect(readonly=False)
            self._pragma("application_id", APPLICATION)
            # One transaction: a kill leaves either no run at all, and create works again, or a whole one to resume.
            with self._transaction() as db:
                if db.execute("SELECT name FROM sqlite_master WHERE name = 'run'").fetchone():
                    raise StoreError(self._holds(self.record()))
                for statement in SCHEMA.split(";\n"):
                    db.execute(statement)
                db.executemany("INSERT INTO run VALUES (?, ?)", rows)
                db.execute(f"PRAGMA user_version = {FORMAT}")
        except BaseException:
            self.close()
            raise
        return self

    def open(self, readonly: bool = False) -> Store:
        """Open the run that the folder holds; to write, take its lock and check the whole file first. StoreError where
        there is no run, another process writes it, or the file is damaged."""
        if not self.path.is_file():
            raise StoreError(f"{self.folder} holds no run (no {self.path.name} in it); start one with --out {self.folder}")
        if not readonly:
            self._lock.acquire()
        try:
            self._connect(readonly)
            if not self._rows("SELECT name FROM sqlite_master WHERE name = 'run'"):
                raise StoreError(f"{self.folder} holds no run (its {self.path.name} is empty); start one with --out {self.folder}")
            found = self._pragma("application_id"), self._pragma("user_version")
            if found != (APPLICATION, FORMAT):
                raise StoreError(
                    f"{self.path} has format {found}, expected {(APPLICATION, FORMAT)}: another program or version wrote it"
                )
            if not readonly and (report := self._rows("PRAGMA quick_check(1)")[0][0]) != "ok":
                raise StoreError(self._damaged(report))
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Close the file and give the folder back; may be called twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self) -> dict[str, Any]:
        """The run record given to ``create``."""
        return {key: json.loads(value) for key, value in self._rows("SELECT key, value FROM run")}

    # ------------------------------------------------------------------------------------ attempts

    def put_attempt(self, step: int, ordinal: int, sibling: int, task: Task, attempt: Attempt) -> bool:
        """Store a finished attempt with its task, all or nothing; false where the very same one was there already.

        StoreError where its id or its place holds a different attempt, or its task's id a different task.
        """
        if attempt.task != task.id:
            raise ValueError(f"attempt {attempt.id!r} is of task {attempt.task!r}, found task {task.id!r} beside it")
        header = pack(replace(attempt, traces=()), f"attempt {attempt.id!r}")
        bodies = [pack(trace, f"trace {trace.id!r} of attempt {attempt.id!r}") for trace in attempt.traces]
        cost = attempt.cost
        text = None if attempt.answer is None else printable(attempt.answer.text)
        error = None if attempt.error is None else printable(attempt.error)
        row = (attempt.id, step, ordinal, sibling, task.id, error, text)
        row += (cost.prompt_tokens, cost.sampled_tokens, cost.calls, cost.compute, cost.seconds, header)
        with self._transaction() as db:
            self._put_task(db, task)
            new = db.execute(f"INSERT INTO attempts VALUES ({'?, ' * 12}?) ON CONFLICT DO NOTHING", row).rowcount
            if new:
                places = zip(attempt.traces, bodies, range(len(bodies)), strict=True)
                traces = [(attempt.id, i, *map(printable, (t.id, t.policy, t.role, t.stop_reason)), body) for t, body, i in places]
                db.executemany("INSERT INTO traces VALUES (?, ?, ?, ?, ?, ?, ?)", traces)
            else:
                self._refuse_different((step, ordinal, sibling), attempt, [header, *bodies])
        return bool(new)

    def attempt(self, step: int, ordinal: int, sibling: int) -> Attempt | None:
        """The attempt stored at this place, equal to what was put, or None."""
        found = self._rows("SELECT id, body FROM attempts WHERE step = ? AND ordinal = ? AND sibling = ?", step, ordinal, sibling)
        return self._attempt(*found[0]) if found else None

    def attempts(self, step: int | None = None) -> Iterator[Stored]:
        """Every attempt (of one step), in the order of step, ordinal, sibling, in bounded memory."""
        last = (-1, -1, -1) if step is None else (step, -1, -1)
        where = "(a.step, a.ordinal, a.sibling) > (?, ?, ?)" + ("" if step is None else f" AND a.step = {int(step)}")
        query = f"""SELECT a.step, a.ordinal, a.sibling, a.id, a.body, t.id, t.body FROM attempts a JOIN tasks t ON t.id = a.task
                    WHERE {where} ORDER BY a.step, a.ordinal, a.sibling LIMIT {PAGE}"""
        while page := self._rows(query, *last):
            for at, ordinal, sibling, id, body, task_id, task in page:
                known = unpack(task, Task, f"task {task_id!r}")
                yield Stored(at, ordinal, sibling, known, self._attempt(id, body), tuple(self.judgements([id])))
            last = page[-1][:3]

    def listing(self, ids: Iterable[str] | None = None) -> list[Listed]:
        """A line for every attempt, in the order of step, ordinal, sibling, without reading any text; for the attempts with
        these ``ids`` only, and then with their tasks."""
        body, where, values = "NULL", "", tuple[str, ...]()
        if ids is not None:
            body, where, values = "t.body", "WHERE a.id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),)
        query = f"""SELECT a.step, a.ordinal, a.sibling, a.id, a.task, t.source, t.level, a.error IS NOT NULL, j.score, {body}
                    FROM attempts a JOIN tasks t ON t.id = a.task LEFT JOIN judgements j ON j.number =
                    (SELECT min(number) FROM judgements WHERE attempt = a.id AND trace IS NULL) {where}
                    ORDER BY a.step, a.ordinal, a.sibling"""
        found: list[Listed] = []
        for step, ordinal, sibling, id, task_id, source, level, failed, score, body in self._rows(query, *values):
            task = None if body is None else unpack(body, Task, f"task {task_id!r}")
            found.append(Listed(step, ordinal, sibling, id, task_id, source, level, bool(failed), score, task))
        return found

    def put_judgements(self, judgements: Iterable[Judgement]) -> None:
        """Store judgements of stored attempts, in one transaction. They replace all earlier ones of the same attempts, so
        give all judgements of an attempt (its traces' too) in one call."""
        rows = [(j.attempt, j.trace, j.score, j.status, pack(j, f"a judgement of attempt {j.attempt!r}")) for j in judgements]
        with self._transaction() as db:
            for attempt in {row[0] for row in rows}:
                if not db.execute("SELECT 1 FROM attempts WHERE id = ?", (attempt,)).fetchone():
                    raise ValueError(f"a judgement of attempt {attempt!r}, which is not in the store; put_attempt comes first")
                db.execute("DELETE FROM judgements WHERE attempt = ?", (attempt,))
            db.executemany("INSERT INTO judgements (attempt, trace, score, status, body) VALUES (?, ?, ?, ?, ?)", rows)

    def judgements(self, attempts: Iterable[str]) -> list[Judgement]:
        """The judgements of these attempts (ids), in the order in which they were put."""
        query = "SELECT attempt, body FROM judgements WHERE attempt IN (SELECT value FROM json_each(?)) ORDER BY number"
        return [
            unpack(body, Judgement, f"a judgement of attempt {id!r}") for id, body in self._rows(query, json.dumps(list(attempts)))
        ]

    # ------------------------------------------------------------------------------------ steps

    def begin_step(self, step: int) -> None:
        """Note that a step starts. One that ran before (a resume from an older checkpoint) starts over: its attempts
        stay, its end and its checkpoint are forgotten."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO steps VALUES (?, ?, NULL, NULL)", (step, time.time()))

    def end_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note that a step ended, with its metrics (they replace earlier ones of that step), and sync to disk."""
        rows = [(step, name, float(value)) for name, value in metrics.items()]
        with self._transaction() as db:
            if not db.execute("UPDATE steps SET ended = ? WHERE step = ?", (time.time(), step)).rowcount:
                raise ValueError(f"step {step} ends but never began; begin_step({step}) comes first")
            db.execute("DELETE FROM metrics WHERE step = ?", (step,))
            db.executemany("INSERT INTO metrics VALUES (?, ?, ?)", rows)
        self._rows("PRAGMA wal_checkpoint(PASSIVE)")

    def set_checkpoint(self, step: int, name: str) -> None:
        """Note that the state after this step is saved under ``name``; call it when the checkpoint is complete."""
        with self._transaction() as db:
            if not db.execute("UPDATE steps SET checkpoint = ? WHERE step = ?", (name, step)).rowcount:
                raise ValueError(f"step {step} has a checkpoint but never began; begin_step({step}) comes first")

    def checkpointed_step(self) -> int | None:
        """The last step whose checkpoint was noted, or None."""
        return self._rows("SELECT max(step) FROM steps WHERE checkpoint IS NOT NULL")[0][0]

    def steps(self) -> list[Step]:
        """Every step that began, in order."""
        return [Step(*row) for row in self._rows("SELECT step, started, ended, checkpoint FROM steps ORDER BY step")]

    def metrics(self) -> dict[int, dict[str, float]]:
        """Metrics by step and name."""
        found: dict[int, dict[str, float]] = {}
        for step, name, value in self._rows("SELECT step, name, value FROM metrics ORDER BY step, name"):
            found.setdefault(step, {})[name] = math.nan if value is None else value  # SQLite keeps a NaN as NULL
        return found

    def counts(self) -> dict[str, float]:
        """How many tasks, attempts, errors, traces, judgements and ended steps there are, and what they cost."""
        names = ("tasks", "traces", "judgements")
        found: dict[str, float] = {name: self._rows(f"SELECT count(*) FROM {name}")[0][0] for name in names}
        found["steps"] = self._rows("SELECT count(ended) FROM steps")[0][0]
        columns = ("attempts", "errors", "prompt_tokens", "sampled_tokens", "calls", "compute", "seconds")
        sums = "count(*), count(error), " + ", ".join(f"total({name})" for name in columns[2:])
        row = self._rows(f"SELECT {sums} FROM attempts")[0]
        whole = {"prompt_tokens", "sampled_tokens", "calls"}
        return found | {name: int(value) if name in whole else value for name, value in zip(columns, row, strict=True)}

    # ------------------------------------------------------------------------------------ inside

    def _attempt(self, id: str, body: bytes) -> Attempt:
        rows = self._rows("SELECT id, body FROM traces WHERE attempt = ? ORDER BY position", id)
        traces = tuple(unpack(trace, Trace, f"trace {name!r} of attempt {id!r}") for name, trace in rows)
        return replace(unpack(body, Attempt, f"attempt {id!r}"), traces=traces)

    def _put_task(self, db: sqlite3.Connection, task: Task) -> None:
        body = pack(task, f"task {task.id!r}")
        if db.execute(
            "INSERT INTO tasks VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (task.id, printable(task.source), task.level, body)
        ).rowcount:
            return
        known = self._rows("SELECT body FROM tasks WHERE id = ?", task.id)[0][0]
        if known != body and unpack(known, Task, f"task {task.id!r}") != task:
            raise StoreError(f"task {task.id!r} is already in {self.path} with other content; give different tasks different ids")

    def _refuse_different(self, place: tuple[int, int, int], attempt: Attempt, bodies: list[bytes]) -> None:
        query = "SELECT id, body FROM attempts WHERE (step = ? AND ordinal = ? AND sibling = ?) OR id = ?"
        rows = self._rows(query, *place, attempt.id)
        known = [rows[0][1], *(r[0] for r in self._rows("SELECT body FROM traces WHERE attempt = ? ORDER BY position", rows[0][0]))]
        # Bytes first, since NaN is not equal to itself; then values, since 1 and 1.0 differ as bytes.
        if known != bodies and self.attempt(*place) != attempt:
            held = ", ".join(f"{row[0]!r}" for row in rows)
            where = "/".join(map(str, place))
            raise StoreError(f"{self.path} already holds {held}; a different attempt {attempt.id!r} at {where} would overwrite it")

    def _connect(self, readonly: bool) -> None:
        mode = "mode=ro" if readonly else "mode=rwc"
        log = self.path.with_name(self.path.name + "-wal")
        if readonly and not os.access(self.folder, os.W_OK) and not log.exists():
            mode = "immutable=1"  # a published run on a read-only disk: SQLite cannot create its shared memory there
        self._connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?{mode}", uri=True, timeout=30, isolation_level=None)
        self._pragma("busy_timeout", 30_000)
        if not readonly:
            self._pragma("journal_mode", "WAL")
            self._pragma("synchronous", "NORMAL")
            self._pragma("foreign_keys", "ON")

    def _pragma(self, name: str, value: object = None) -> Any:
        rows = self._rows(f"PRAGMA {name}" + ("" if value is None else f" = {value}"))
        return rows[0][0] if rows else None

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._database().execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._database()
        with self._errors():
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # locked, disk full, unreadable: the file itself may be sound
            raise StoreError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(self._damaged(str(error))) from error

    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"the store in {self.folder} is not open; call create(record) or open() first")
        return self._connection

    def _damaged(self, report: str) -> str:
        return f"{self.path} is damaged ({' '.join(report.split())}); restore a copy, or save what is left with sqlite3's .recover"

    def _holds(self, record: Mapping[str, Any]) -> str:
        started = f"{self.folder} already holds a run of {record.get('recipe')} started {record.get('started')}"
        return f"{started}; use --resume {self.folder} or another --out"

    def _refuse_taken(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError(f"{self.folder} is a file; --out names a new or empty folder")
        entries = {entry.name for entry in self.folder.iterdir()} if self.folder.exists() else set()
        own = {self.path.name + end for end in ("", "-wal", "-shm", "-journal")} | {self._lock.path.name}
        if self.path.name in entries:
            with Store(self.folder) as known:
                known._connect(readonly=True)
                if known._rows("SELECT name FROM sqlite_master WHERE name = 'run'"):
                    raise StoreError(self._holds(known.record()))
        if entries - own:
            found = ", ".join(sorted(entries - own)[:5])
            raise StoreError(f"{self.folder} is not empty and holds no run (found {found}); name a new or empty folder with --out")
