"""The run store: exact round trips, refusals, locks, kills and damage."""

from __future__ import annotations

import itertools
import math
import os
import signal
import sqlite3
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journeyman.store import Session, Store, Stored, StoreError
from journeyman.store.codec import pack, unpack
from journeyman.types import (
    Answer,
    Assignment,
    Attempt,
    Cost,
    Group,
    Judgement,
    Sampling,
    Span,
    Task,
    Trace,
    from_json,
    replace,
    to_json,
    user,
)

RECORD = {"recipe": "grpo", "arguments": {"steps": 3, "lr": 1e-5}, "source": "abc", "versions": {"torch": "2.13.0"}}
TASK = Task("t0", user("2+2="), "4", source="sum", level=1)


def attempt(id: str = "1/0/0", **changes: object) -> Attempt:
    trace = Trace(
        f"{id}:0", prompt=TASK.prompt, text="4", tokens=(5, 6, 7), sampled=(False, False, True), logp=(0.0, 0.0, -0.1), start=2
    )
    return replace(Attempt(id, "t0", Answer("4", trace.id), (trace,), seed=3, cost=Cost(2, 1, 1, 30.0, 0.5)), **changes)


# ---------------------------------------------------------------------------------------- round trips

any_text = st.text(st.characters(exclude_categories=[]))  # every code point, lone surrogates too
number = st.floats(allow_nan=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | number | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)
prompts = st.lists(st.fixed_dictionaries({"role": any_text, "content": any_text}), max_size=2).map(tuple)


@st.composite
def traces(draw: st.DrawFn, id: str) -> Trace:
    n = draw(st.integers(0, 40))

    def row(cell: st.SearchStrategy) -> tuple:
        return tuple(draw(st.lists(cell, min_size=n, max_size=n)))

    return Trace(
        id,
        draw(any_text),
        draw(any_text),
        draw(prompts),
        draw(any_text),
        row(st.integers(0, 2**40)),
        row(st.booleans()),
        row(number),
        row(st.integers(-1, 9)),
        draw(st.integers(0, n)),
        Sampling(draw(st.integers(1, 2**40)), draw(st.floats(0, 2)), draw(st.floats(0, 1)), (draw(any_text),)),
        draw(st.sampled_from(["end", "stop", "length", "context", "cancelled", "error"])),
        draw(st.none() | any_text),
        draw(st.dictionaries(any_text, plain, max_size=3)),
        {"values": row(number)},
        draw(st.integers(0, 2**40)),
        draw(st.integers(0, 2**40)),
    )


@st.composite
def attempts(draw: st.DrawFn) -> Attempt:
    found = tuple(draw(traces(f"1/0/0:{i}")) for i in range(draw(st.integers(0, 3))))
    inner = Answer(draw(any_text), None, (), draw(st.none() | st.floats(0, 1)))
    answer = draw(st.none() | st.just(Answer(draw(any_text), found[0].id if found else None, (inner, inner), 0.5)))
    cost = Cost(draw(st.integers(0, 2**40)), draw(st.integers(0, 2**40)), 3, draw(st.floats(0, 1e30)), draw(st.floats(0, 1e6)))
    return Attempt("1/0/0", "t0", answer, found, draw(st.none() | any_text), draw(st.integers(0, 2**64 - 1)), cost)


place = itertools.count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("store") / "r").create(RECORD) as store:
        yield store


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(attempts(), plain)
def test_any_attempt_and_task_come_back_equal(shared: Store, made: Attempt, answer: object) -> None:
    step = next(place)
    task = Task(f"any{step}", user("q"), answer)
    made = replace(made, id=f"any{step}", task=task.id)
    assert shared.put_attempt(step, 0, 0, task, made)
    assert shared.attempt(step, 0, 0) == made
    assert not shared.put_attempt(step, 0, 0, task, made)
    with Store(shared.folder).open(readonly=True) as store:
        assert list(store.attempts(step)) == [Stored(step, 0, 0, task, made)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda score, evidence, parts, spans, trace: Judgement(
                "1/0/0", score, "checked" if score is not None else "abstained", trace, evidence, parts, tuple(spans), evidence
            ),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            any_text,
            st.dictionaries(any_text, number, max_size=3),
            st.lists(st.builds(Span, any_text, st.integers(0, 9), st.integers(0, 9), number), max_size=3),
            st.none() | st.text(string.printable),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_judgements_come_back_equal(shared: Store, made: list[Judgement]) -> None:
    shared.put_attempt(10**6, 0, 0, TASK, attempt())
    shared.put_judgements([Judgement("1/0/0", 0.25)])
    shared.put_judgements(made)  # replaces
    assert shared.judgements(["1/0/0"]) == made


def test_floats_json_has_no_word_for_come_back() -> None:
    trace = Trace("a", logp=(-math.inf, math.nan, -0.0, 5e-324, 0.1 + 0.2), marks={"ucb": math.inf})
    found = unpack(pack(trace, "a trace"), Trace, "a trace")
    assert repr(found) == repr(trace)


def test_the_store_agrees_with_the_json_form_of_the_types(tmp_path: Path) -> None:
    made = attempt(error="\N{SNOWMAN} 😀")
    with Store(tmp_path / "r").create(RECORD) as store:
        store.put_attempt(1, 0, 0, TASK, made)
        assert to_json(store.attempt(1, 0, 0)) == to_json(made)
        assert store.attempt(1, 0, 0) == from_json(to_json(made), Attempt)


def test_what_is_no_plain_data_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    bad = attempt(traces=(Trace("1/0/0:0", marks={"value": object()}),))
    with Store(tmp_path / "r").create(RECORD) as store:
        with pytest.raises(ValueError, match=r"trace '1/0/0:0' of attempt '1/0/0' cannot be stored: .*object"):
            store.put_attempt(1, 0, 0, TASK, bad)
        assert store.counts()["attempts"] == 0


# ---------------------------------------------------------------------------------------- writing


def test_a_different_attempt_or_task_is_never_overwritten(tmp_path: Path) -> None:
    with Store(tmp_path / "r").create(RECORD) as store:
        assert store.put_attempt(1, 0, 0, TASK, attempt())
        assert not store.put_attempt(1, 0, 0, TASK, attempt())
        for changed in (attempt(seed=4), attempt(traces=()), attempt("other")):
            with pytest.raises(StoreError, match="would overwrite"):
                store.put_attempt(1, 0, 0, TASK, changed)
        with pytest.raises(StoreError, match="would overwrite"):
            store.put_attempt(1, 0, 1, TASK, attempt(seed=9))  # the same id at another place
        with pytest.raises(StoreError, match=r"task 't0' is already in .* with other content"):
            store.put_attempt(1, 0, 1, replace(TASK, answer="5"), attempt("1/0/1"))
        with pytest.raises(ValueError, match="is of task 't0', found task 't1'"):
            store.put_attempt(1, 0, 1, replace(TASK, id="t1"), attempt("1/0/1"))
        assert store.attempt(1, 0, 0) == attempt()
        assert store.attempt(1, 0, 1) is None
        assert store.counts()["attempts"] == 1


def test_judgements_need_their_attempt(tmp_path: Path) -> None:
    with Store(tmp_path / "r").create(RECORD) as store:
        store.put_attempt(1, 0, 0, TASK, attempt())
        with pytest.raises(ValueError, match=r"'9/9/9', which is not in the store"):
            store.put_judgements([Judgement("1/0/0", 1.0), Judgement("9/9/9", 1.0)])
        assert store.judgements(["1/0/0", "9/9/9"]) == []  # all or nothing


def test_steps_metrics_counts_and_checkpoints(tmp_path: Path) -> None:
    with Store(tmp_path / "r").create(RECORD) as store:
        assert store.checkpointed_step() is None
        for step in (1, 2):
            store.begin_step(step)
            for sibling in (0, 1):
                id = f"{step}/0/{sibling}"
                store.put_attempt(step, 0, sibling, TASK, attempt(id, error="boom" if sibling else None))
                store.put_judgements([Judgement(id, None, "abstained")])
            store.end_step(step, {"loss": math.nan if step == 1 else 0.1, "accuracy": math.inf, "n": 3})
        store.set_checkpoint(1, "step-000001")
        assert store.checkpointed_step() == 1
        assert [s.attempt.id for s in store.attempts()] == ["1/0/0", "1/0/1", "2/0/0", "2/0/1"]
        assert [s.attempt.id for s in store.attempts(2)] == ["2/0/0", "2/0/1"]
        assert next(store.attempts(2)).judgements == (Judgement("2/0/0", None, "abstained"),)
        found = store.metrics()
        assert math.isnan(found[1]["loss"])
        assert found[2] == {"loss": 0.1, "accuracy": math.inf, "n": 3.0}
        expected = {"tasks": 1, "attempts": 4, "errors": 2, "traces": 4, "judgements": 4, "steps": 2}
        costs = {"prompt_tokens": 8, "sampled_tokens": 4, "calls": 4, "compute": 120.0, "seconds": 2.0}
        assert store.counts() == expected | costs
        store.begin_step(1)  # over again, after a resume from an older state
        assert store.checkpointed_step() is None
        assert [(s.step, s.ended is None) for s in store.steps()] == [(1, True), (2, False)]
        assert store.counts()["attempts"] == 4
        with pytest.raises(ValueError, match="step 7 ends but never began"):
            store.end_step(7, {})
        with pytest.raises(ValueError, match="step 7 has a checkpoint but never began"):
            store.set_checkpoint(7, "x")


def test_attempts_are_paged_without_loss(tmp_path: Path) -> None:
    with Store(tmp_path / "r").create(RECORD) as store:
        places = [(s, o, i) for s in range(3) for o in range(11) for i in range(7)]
        for place in reversed(places):
            store.put_attempt(*place, TASK, attempt("/".join(map(str, place))))
        assert [(x.step, x.ordinal, x.sibling) for x in store.attempts()] == places
        assert [(x.step, x.ordinal, x.sibling) for x in store.attempts(1)] == [p for p in places if p[0] == 1]


# ---------------------------------------------------------------------------------------- opening


def test_record_comes_back_and_a_taken_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    with Store(folder).create(RECORD) as store:
        assert {k: v for k, v in store.record().items() if k != "started"} == RECORD
        expected = f"{folder} already holds a run of grpo started .*; use --resume {folder} or another --out"
        with pytest.raises(StoreError, match=expected):
            Store(folder).create(RECORD)
    with pytest.raises(StoreError, match=expected):
        Store(folder).create({"recipe": "star"})
    with Store(folder).open() as store:
        assert store.record()["recipe"] == "grpo"


def test_folders_that_are_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"not empty and holds no run \(found notes.txt\)"):
        Store(tmp_path).create(RECORD)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(StoreError, match="is a file"):
        Store(tmp_path / "notes.txt").create(RECORD)
    with pytest.raises(StoreError, match=r"holds no run \(no run.sqlite"):
        Store(tmp_path / "missing").open()
    with pytest.raises(StoreError, match="not open"):
        Store(tmp_path / "missing").counts()
    with pytest.raises(ValueError, match="recipe"):
        Store(tmp_path / "new").create({})
    other = tmp_path / "other"
    other.mkdir()
    db = sqlite3.connect(other / "run.sqlite")
    db.execute("CREATE TABLE run (x)")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="another program or version wrote it"):
        Store(other).open()


def test_a_create_that_was_killed_can_be_repeated(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "run.sqlite").close()
    (tmp_path / "run.lock").touch()
    with pytest.raises(StoreError, match="holds no run"):
        Store(tmp_path).open()
    with Store(tmp_path).create(RECORD) as store:
        assert store.record()["recipe"] == "grpo"


def test_readers_read_while_another_writes(tmp_path: Path) -> None:
    with Store(tmp_path / "r").create(RECORD) as store, Store(tmp_path / "r").open(readonly=True) as reader:
        store.put_attempt(1, 0, 0, TASK, attempt())
        assert reader.attempt(1, 0, 0) == attempt()
        with pytest.raises(StoreError, match="readonly"):
            reader.begin_step(1)


def test_a_run_on_a_read_only_disk_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path / "r").create(RECORD) as store:
        store.put_attempt(1, 0, 0, TASK, attempt())
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as on such a disk; file modes do not stop root
    with Store(tmp_path / "r").open(readonly=True) as reader:
        assert reader.attempt(1, 0, 0) == attempt()
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == ["run.lock", "run.sqlite"]


# ---------------------------------------------------------------------------------------- locks and kills

WRITER = """
import sys
from journeyman.store import Store
from journeyman.types import Answer, Attempt, Cost, Judgement, Task, Trace, user
store = Store(sys.argv[1]).open()
task = Task("t0", user("q" * 500), "4")
for step in range(1, 10**6):
    store.begin_step(step)
    for ordinal in range(20):
        id = f"{step}/{ordinal}/0"
        trace = Trace(id + ":0", tokens=tuple(range(500)), logp=tuple(-i / 7 for i in range(500)))
        store.put_attempt(step, ordinal, 0, task, Attempt(id, "t0", Answer("4", trace.id), (trace,), None, step, Cost(1, 500, 1)))
        store.put_judgements([Judgement(id, 1.0)])
        print(id, flush=True)
    store.end_step(step, {"loss": step / 3})
"""


def test_sigkill_loses_no_attempt_that_was_confirmed(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    Store(folder).create(RECORD).close()
    confirmed: set[str] = set()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            confirmed.add(line.strip())
            if len(confirmed) == 300:
                process.send_signal(signal.SIGKILL)
                break
        confirmed |= {line.strip() for line in process.stdout if line.endswith("\n")}
    assert process.returncode == -signal.SIGKILL
    with Store(folder).open(readonly=True) as reader:  # a report on a killed run, before anyone resumes it
        assert reader.counts()["attempts"] >= 300
    with Store(folder).open() as store:
        stored = {x.attempt.id: x for x in store.attempts()}
    assert confirmed <= set(stored)
    assert len(stored) <= len(confirmed) + 1  # at most the one whose confirmation was not printed
    for id in confirmed:
        assert stored[id].attempt.traces[0].logp[499] == -499 / 7
        assert stored[id].judgements == (Judgement(id, 1.0),)


def test_two_writers_are_refused_and_a_killed_one_gives_the_folder_back(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    Store(folder).create(RECORD).close()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StoreError, match=f"{folder} is in use by process {process.pid}"):
            Store(folder).open()
        with Store(folder).open(readonly=True) as reader:
            assert reader.counts()["attempts"] >= 1
        process.kill()
    with Store(folder).open() as store, pytest.raises(StoreError, match="in use by process"):
        Store(store.folder).open()


FORKER = """
import os, sys, time
from journeyman.store import Store
store = Store(sys.argv[1]).open()
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
time.sleep(60)
"""


def test_a_forked_worker_that_outlives_a_killed_run_does_not_hold_its_lock(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    Store(folder).create(RECORD).close()
    with subprocess.Popen([sys.executable, "-c", FORKER, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        with pytest.raises(StoreError, match="in use"):
            Store(folder).open()
        process.kill()
        process.wait()
        os.kill(child, 0)  # still alive
        Store(folder).open().close()
        os.kill(child, signal.SIGKILL)


# ---------------------------------------------------------------------------------------- damage


def filled(folder: Path) -> Path:
    with Store(folder).create(RECORD) as store:
        for i in range(50):
            id = f"1/{i}/0"
            trace = Trace(f"{id}:0", tokens=tuple(range(400)), logp=tuple(-j / 3 for j in range(400)))
            store.put_attempt(1, i, 0, TASK, attempt(id, traces=(trace,)))
    return folder / "run.sqlite"


@pytest.mark.parametrize("kept", [0.0, 0.0001, 0.5, 0.99])
def test_a_truncated_file_gives_a_clear_error(tmp_path: Path, kept: float) -> None:
    path = filled(tmp_path / "r")
    os.truncate(path, int(path.stat().st_size * kept))
    # A cut within the last page passes SQLite's own check (it reads as zeros); the checksum of what lay there does not.
    with pytest.raises(StoreError, match=r"is damaged|holds no run"), Store(tmp_path / "r").open() as store:
        list(store.attempts())


def test_a_flipped_bit_in_a_trace_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = filled(tmp_path / "r")
    data = bytearray(path.read_bytes())
    body = pack(Trace("x", logp=tuple(-j / 3 for j in range(400))), "x")
    at = data.index(body[400:600])
    data[at + 50] ^= 1
    path.write_bytes(data)
    expected = r"trace '1/\d+/0:0' of attempt .* is damaged in the run store: its checksum"
    with Store(tmp_path / "r").open() as store, pytest.raises(StoreError, match=expected):  # the file's structure is sound
        list(store.attempts())


def test_a_flipped_header_gives_a_clear_error(tmp_path: Path) -> None:
    path = filled(tmp_path / "r")
    data = bytearray(path.read_bytes())
    data[:16] = b"garbage garbage!"
    path.write_bytes(data)
    for readonly in (False, True):
        with pytest.raises(StoreError, match=r"run.sqlite is damaged \(file is not a database\)"):
            Store(tmp_path / "r").open(readonly)


# ---------------------------------------------------------------------------------------- the runner's memory


def test_session_finds_what_was_finished(tmp_path: Path) -> None:
    with Store(tmp_path / "r").create(RECORD) as store:
        session = Session(store)
        made = tuple(attempt(f"3/1/{i}") for i in range(2))
        group = Group("3/1", Assignment(TASK, 2), made)
        assert session.attempt("3/1/0", TASK) is None
        session.begin_step(3)
        assert [s.step for s in store.steps()] == [3]
        for one in made:
            session.put_attempt(TASK, one)
        assert session.attempt("3/1/1", TASK) == made[1]
        assert session.group(group) is None
        judged = replace(
            group, judgements=(Judgement("3/1/1", 1.0), Judgement("3/1/0", 0.0), Judgement("3/1/1", 0.5, trace="3/1/1:0"))
        )
        session.put_judgements(judged)
        session.put_judgements(judged)
        assert session.group(group) == judged
        with pytest.raises(StoreError, match=r"attempt 3/1/0 of task 't0', but the resumed run hands out 't9'"):
            session.attempt("3/1/0", replace(TASK, id="t9"))
        with pytest.raises(ValueError, match="expected step/ordinal/sibling"):
            session.attempt("eval/1", TASK)
