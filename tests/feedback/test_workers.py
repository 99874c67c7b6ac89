import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from journeyman.workers import Deadline, Pool, WorkerError


@pytest.fixture
def pool():
    made = Pool(2)
    yield made
    made.close()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_start_at_the_first_call_and_are_reused(pool):
    assert pool.pids() == []
    assert [pool.submit("math:factorial", n, deadline=20).result() for n in range(4)] == [1, 1, 2, 6]
    assert len(pool.pids()) == 1


def test_a_call_past_its_deadline_is_killed_and_the_next_ones_are_served(pool):
    async def main():
        hung = [pool.run("time:sleep", 100, deadline=0.3) for _ in range(4)]
        fine = [pool.run("math:factorial", 5, deadline=20) for _ in range(50)]
        return await asyncio.gather(*hung, *fine, return_exceptions=True)

    began = time.monotonic()
    results = asyncio.run(main())
    assert time.monotonic() - began < 8
    assert all(isinstance(r, Deadline) for r in results[:4])
    assert results[4:] == [120] * 50


def test_a_call_stuck_inside_c_code_is_killed(pool):
    began = time.monotonic()
    with pytest.raises(Deadline, match=r"killed after 0\.5 s"):
        pool.submit("operator:pow", 9, 9**9, deadline=0.5).result()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("function", "args", "reason"),
    [
        ("math:sqrt", (-1,), "ValueError: math domain error"),
        ("sys:exit", (3,), "SystemExit: 3"),
        ("os:_exit", (3,), r"the worker died \(exit status 3\)"),
        ("operator:mul", ([0], 10**12), "MemoryError"),
        ("threading:Lock", (), "cannot be sent back"),
        ("no_such_module:f", (), "ModuleNotFoundError"),
    ],
)
def test_whatever_a_call_does_costs_that_call_only(pool, function, args, reason):
    with pytest.raises(WorkerError, match=reason):
        pool.submit(function, *args, deadline=20, memory=1 << 31).result()
    assert pool.submit("math:factorial", 5, deadline=20).result() == 120


def test_the_event_loop_runs_on_while_a_worker_is_stuck(pool):
    async def main():
        stuck = asyncio.ensure_future(pool.run("operator:pow", 9, 9**9, deadline=0.6))
        ticks = 0
        while not stuck.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert isinstance(stuck.exception(), Deadline)
        return ticks

    assert asyncio.run(main()) > 20


def test_close_kills_every_process_and_fails_what_waits():
    pool = Pool(2)
    calls = [pool.submit("time:sleep", 100, deadline=200) for _ in range(5)]
    while len(pool.pids()) < 2:
        time.sleep(0.01)
    pids = pool.pids()
    pool.close()
    for call in calls:
        assert isinstance(call.exception(timeout=5), WorkerError)
    assert not any(alive(pid) for pid in pids)
    with pytest.raises(WorkerError, match="closed"):
        pool.submit("math:sqrt", 1, deadline=1)


def test_what_a_call_started_dies_with_its_worker(pool, tmp_path):
    (tmp_path / "parent.py").write_text(
        "import subprocess, time\n"
        "def f(path):\n"
        "    open(path, 'w').write(str(subprocess.Popen(['sleep', '100']).pid))\n"
        "    time.sleep(100)\n"
    )
    note = tmp_path / "pid"
    with pytest.raises(Deadline):
        pool.submit(f"{tmp_path / 'parent.py'}:f", str(note), deadline=1.0).result()
    stat, deadline = Path(f"/proc/{note.read_text()}/stat"), time.monotonic() + 5
    while running(stat) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(stat)


def running(stat):
    """Whether the process of this /proc file lives; a zombie waits for init, which is not our matter."""
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_no_process_is_left_when_the_interpreter_ends():
    script = (
        "from journeyman.workers import shared\n"
        "shared().submit('math:sqrt', 4, deadline=20).result()\n"
        "shared().submit('time:sleep', 100, deadline=200)\n"
        "print(*shared().pids(), flush=True)\n"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert time.monotonic() - began < 10
    assert done.stderr == ""
    assert not any(alive(int(pid)) for pid in done.stdout.split())


def test_strings_hash_alike_in_every_worker():
    hashes = set()
    for _ in range(2):
        pool = Pool(1)
        hashes.add(pool.submit("builtins:hash", "journeyman", deadline=20).result())
        pool.close()
    assert len(hashes) == 1


def test_a_deadline_is_positive(pool):
    with pytest.raises(ValueError, match="positive number of seconds: found 0"):
        pool.submit("math:sqrt", 1, deadline=0)
