"""Speed and memory of the run store; ``pytest -s`` prints what was measured."""

from __future__ import annotations

import resource
import time
import tracemalloc
from pathlib import Path
from typing import Literal

import pytest

from journeyman import export
from journeyman.store import Store
from journeyman.types import Answer, Attempt, Cost, Task, Trace, replace, user

N = 50_000
TASK = Task("t0", user("What is 2 + 2?"), "4")


def made(i: int) -> Attempt:
    id = f"{i // 512}/{i % 512 // 8}/{i % 8}"
    trace = Trace(f"{id}:0", tokens=tuple(range(60)), sampled=(False,) * 20 + (True,) * 40, logp=tuple(-j / 7 for j in range(60)))
    return Attempt(id, "t0", Answer("4", trace.id), (trace,), seed=i, cost=Cost(20, 40, 1, 600.0, 0.1))


def test_fifty_thousand_attempts(tmp_path: Path) -> None:
    with Store(tmp_path / "r").create({"recipe": "speed"}) as store:
        slowest, started = 0.0, time.perf_counter()
        for i in range(N):
            before = time.perf_counter()
            store.put_attempt(i // 512, i % 512 // 8, i % 8, TASK, made(i))
            slowest = max(slowest, time.perf_counter() - before)
        written = time.perf_counter() - started
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Store(tmp_path / "r").open(readonly=True) as store:
        started = time.perf_counter()
        read = sum(1 for _ in store.attempts())
        taken = time.perf_counter() - started
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert store.attempt(10, 3, 5) == made(10 * 512 + 3 * 8 + 5)
    size = (tmp_path / "r" / "run.sqlite").stat().st_size
    print(
        f"\n{N / written:,.0f} attempts/s written (slowest {1000 * slowest:.1f} ms), {N / taken:,.0f} read, {size / N:.0f} B each"
    )
    assert read == N
    assert N / written > 500, "a write must stay far below the time of sampling an attempt"
    assert N / taken > 500
    assert grown < 20_000, f"reading {N} attempts one by one grew the process by {grown} KiB"


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_export_is_flat_in_memory(tmp_path: Path, format: Literal["jsonl", "parquet"], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BLOCK", 20_000)  # several blocks even in the smaller run
    peaks = []
    for n in (300, 1_500):
        with Store(tmp_path / str(n)).create({"recipe": "speed"}) as store:
            for i in range(n):
                trace = Trace("t", tokens=tuple(range(300, 500)), logp=tuple(-j / 7 for j in range(200)))
                store.put_attempt(i // 512, i % 512 // 8, i % 8, TASK, replace(made(i), traces=(trace,)))
        tracemalloc.start()
        assert export.export_rollouts(tmp_path / str(n), tmp_path / f"{n}.out", format) == n
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    print(f"\nexport to {format}: peak {peaks[0]:.1f} MiB of Python objects for 300 attempts, {peaks[1]:.1f} for 1,500")
    assert peaks[1] < 1.5 * peaks[0]
