"""Several runs of a comparison at a time: the same as one after the other, truly side by side, stopped and continued, refused."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from journeyman.cli import main
from journeyman.compare.child import begin
from journeyman.compare.display import Lines, left
from journeyman.compare.run import threads_each
from journeyman.store import Store
from journeyman.store.lock import FolderLock
from tests.compare.conftest import numbers, words

WAITS = '''
"""GRPO whose third step makes the file {mark}-{seed}, waits until there is {until}-{seed}, and fails where that is asked for."""
import itertools
import os
import time
from pathlib import Path

import torch

from journeyman.protocols import declare
from journeyman.recipes import grpo

HERE = Path(__file__).parent


def recipe(
    policy="base", tasks="tasks.jsonl", batch: int = 2, siblings: int = 2, max_tokens: int = 4,
    mark: str = "", until: str = "", fails: bool = False, seed: int = 0,
):
    threads = f"{torch.get_num_threads()} {os.environ['OMP_NUM_THREADS']}"
    torch.set_num_threads(1)  # the tests' own number: more than the cores would take them minutes
    run = grpo(policy, tasks, batch=batch, siblings=siblings, max_tokens=max_tokens, lr=0.01, seed=seed)
    credit, calls = run.credit, itertools.count()

    @declare(needs=credit.needs, gives=credit.gives)
    def waits(group, render):
        if next(calls) == 4:  # a step has two groups
            (HERE / f"{mark}-{seed}").write_text(threads)
            end = time.monotonic() + 120
            while not (HERE / f"{until}-{seed}").exists():
                if time.monotonic() > end:
                    raise TimeoutError(f"{mark}-{seed} has waited for {until}-{seed} in vain")
                time.sleep(0.02)
            if fails:
                raise ArithmeticError("no credit today")
        return credit(group, render)

    run.credit = waits
    return run
'''


@pytest.fixture(scope="module")
def waits(world):
    path = world / "waits.py"
    path.write_text(WAITS)
    return path


def files(out: Path):
    """What is there, without the files that a reader of SQLite leaves."""
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.suffix not in (".sqlite-shm", ".sqlite-wal"))


def attempts(out: Path):
    """Every run's attempts with their texts."""
    found = {}
    for path in sorted((out / "runs").glob("*/run.sqlite")):
        with Store(path.parent).open(readonly=True) as store:
            found[path.parent.name] = {s.attempt.id: s.attempt.answer.text for s in store.attempts()}
    return found


def test_two_at_a_time_are_the_same_runs(compared, world, model, capsys):
    assert main(words(model, world, "grpo --lr 0.01", "rloo", out="two", jobs=2)) == 0
    told = f"cores, compute threads of each: {os.environ['OMP_NUM_THREADS']} (OMP_NUM_THREADS)"
    assert told in capsys.readouterr().err.splitlines()[2]
    two = world / "two"
    assert (two / "comparison.json").read_bytes() == (compared / "comparison.json").read_bytes()
    assert files(two) == files(compared)
    assert numbers(two) == numbers(compared)
    assert attempts(two) == attempts(compared)


def test_runs_meet_and_one_that_fails_stops_no_other(compared, waits, world, model, capsys, monkeypatch):
    """Each run waits for the other recipe's run of its seed, in vain if they were not under way at the same time."""
    assert compared.is_dir()  # so the fork server is there, and other tests' processes keep the environment it was started with
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("journeyman.compare.run.cores", lambda: 4)
    both = f"{waits} --mark a --until b", f"{waits} --mark b --until a --fails"
    assert main(words(model, world, *both, budget=150, out="met", jobs=2)) == 0
    told = capsys.readouterr().err
    assert "up to 2 runs at a time on 4 cores, compute threads of each: 2\n" in told
    begun = [line for line in told.splitlines() if line.startswith("[") and line.endswith("...")]
    names = ["waits_mark_a_until_b", "waits_mark_b_until_a_fails"]
    runs = [(names[0], 0), (names[1], 0), (names[0], 1), (names[1], 1)]
    assert begun == [f"[{i}/4] {name} seed {seed} ..." for i, (name, seed) in enumerate(runs, 1)]
    assert re.search(rf"{names[0]} seed 0: pass@1 .* tokens, \d+ s; about 0:0\d:\d\d left", told)
    result = json.loads((world / "met" / "compare.json").read_text())
    failures = [{"seed": seed, "reason": "ArithmeticError: no credit today"} for seed in (0, 1)]
    assert [(side["seeds"], side["failed"]) for side in result["recipes"]] == [([0, 1], []), ([], failures)]
    assert [(world / mark).read_text() for mark in ("a-0", "b-0", "a-1", "b-1")] == ["2 2"] * 4


def test_ctrl_c_ends_all_and_the_next_call_continues(compared, waits, world, model):
    out = world / "stopped"
    command = words(model, world, f"{waits} --mark held --until go", "rloo", out="stopped", jobs=2)
    program, environment = [sys.executable, "-m", "journeyman", *command], {**os.environ, "OMP_NUM_THREADS": "1"}
    with (world / "stopped.log").open("wb") as log:
        life = subprocess.Popen(program, stdout=log, stderr=log, env=environment, start_new_session=True, cwd=Path.cwd())
        end = time.monotonic() + 240
        while not all((world / f"held-{seed}").exists() for seed in (0, 1)):
            assert life.poll() is None, (world / "stopped.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        os.killpg(life.pid, signal.SIGINT)  # as a terminal does: to all
        for seed in (0, 1):
            (world / f"go-{seed}").touch()  # asyncio ends a run at its next await, not inside credit
        assert life.wait(60) == 130
    told = (world / "stopped.log").read_text()
    assert told.endswith(f"journeyman: stopped; nothing is lost, continue with journeyman compare --resume {out}\n")
    assert "FAILED" not in told
    assert "seed 1 ..." in told
    assert "rloo seed 1" not in told  # no other was begun
    held = [out / "runs" / f"waits_mark_held_until_go-{seed}" for seed in (0, 1)]
    for folder in held:
        lock = FolderLock(folder / "run.lock")
        lock.acquire()  # no process writes it any more
        lock.release()
        assert "journeyman: stopped; finished attempts are kept" in folder.with_name(folder.name + ".log").read_text()
    assert [path.parent.name for path in out.glob("runs/*/result.json")] == ["rloo-0"]
    assert main(["compare", "--resume", str(out), "--jobs", "2"]) == 0
    renamed = {"waits_mark_held_until_go": "grpo_lr_0.01", "rloo": "rloo"}
    found = [{**run, "label": renamed[run["label"]]} for run in numbers(out)["runs"]]
    assert found == numbers(compared)["runs"]
    texts, known = attempts(out), attempts(compared)
    assert {name.replace("waits_mark_held_until_go", "grpo_lr_0.01"): text for name, text in texts.items()} == known


def test_threads_are_the_cores_divided(monkeypatch):
    monkeypatch.setattr("journeyman.compare.run.cores", lambda: 7)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert [threads_each(jobs) for jobs in (1, 2, 3, 8)] == [None, 3, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads_each(2) is None


def test_a_process_takes_the_threads_it_is_given(tmp_path):
    log = tmp_path / "log"
    usual = begin(torch.get_num_threads, log=log).result()
    assert begin(torch.get_num_threads, log=log, threads=usual + 2).result() == usual + 2
    assert begin(os.getenv, "OMP_NUM_THREADS", log=log, threads=usual + 2).result() == str(usual + 2)


def test_time_left():
    assert left([], 3, [], 1) == ""
    assert left([8.0, 12.0], 0, [], 2) == ""
    assert left([8.0, 12.0], 3, [], 1) == "; about 0:00:30 left"
    assert left([8.0, 12.0], 3, [4.0], 2) == "; about 0:00:18 left"
    assert left([10.0], 0, [4.0, 70.0], 4) == "; about 0:00:03 left"


def test_each_run_under_way_has_one_line(tmp_path, capsys):
    lines = Lines(alive=True)
    for i in (1, 2, 3):
        (tmp_path / f"{i}.log").write_text(f"step 1\n[bold] step {i} " + 200 * "x" + "\n\n")
        lines.begin(f"[{i}/3] grpo seed {i}", tmp_path / f"{i}.log")
    lines.end("[2/3] grpo seed 2")
    terminal = StringIO()
    Console(file=terminal, force_terminal=True, width=60, color_system=None).print(lines.rows())
    shown = terminal.getvalue().splitlines()
    assert [line[2:36] for line in shown] == [f"[{i}/3] grpo seed {i}  [bold] step {i} x" for i in (1, 3)]
    assert all(len(line) <= 60 for line in shown)
    assert capsys.readouterr().err == ""
    Lines(alive=False).begin("[1/2] rloo seed 0", tmp_path / "none.log")
    assert capsys.readouterr().err == "[1/2] rloo seed 0 ...\n"


def test_refusals(place, model, capsys):
    before = sorted(place.iterdir())
    for jobs in (0, -2):
        assert main(words(model, place, "grpo", "rloo", jobs=jobs)) == 2
        assert capsys.readouterr().err == f"journeyman: --jobs is {jobs}, expected at least 1\n"
    assert main(words(model, place, "grpo", "rloo", jobs="two")) == 2
    assert "--jobs" in capsys.readouterr().err
    assert main([*words(model, place, "grpo", "rloo", jobs=2), "--vllm", "http://127.0.0.1:1"]) == 2
    assert "write --jobs 1" in capsys.readouterr().err
    assert sorted(place.iterdir()) == before  # nothing was begun
