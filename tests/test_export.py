"""Exports hold every attempt and trace, exactly, and appear only when complete."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from journeyman.export import COLUMNS, export_rollouts
from journeyman.store import Store, StoreError
from journeyman.types import Answer, Attempt, Cost, Judgement, Sampling, Task, Trace, user

TASK = Task("t", user("2+2=\n😀"), "4", source="sum", level=3)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    first = Trace(
        "1/0/0:0",
        "policy",
        "solver",
        TASK.prompt,
        "5",
        (7, 8),
        (False, True),
        (0.0, -0.1),
        (-1, 2),
        1,
        Sampling(9, 0.7, 0.9),
        "length",
        prompt_tokens=1,
        sampled_tokens=1,
    )
    second = Trace("1/0/0:1", "critic", "critic", text="no\ud800", parent=first.id, marks={"value": 0.5})
    with Store(tmp_path / "run").create({"recipe": "x"}) as store:
        good = Attempt("1/0/0", "t", Answer("5", first.id), (first, second), cost=Cost(1, 1, 2, 60.0, 0.25))
        store.put_attempt(1, 0, 0, TASK, good)
        store.put_attempt(1, 0, 1, TASK, Attempt("1/0/1", "t", None, error="RuntimeError: boom"))
        store.put_attempt(2, 0, 0, TASK, Attempt("2/0/0", "t", Answer("4"), (Trace("2/0/0:0", logp=(-math.inf,)),)))
        store.put_judgements([Judgement("1/0/0", 0.1 + 0.2), Judgement("1/0/0", 1.0, trace=second.id)])
        store.put_judgements([Judgement("1/0/1", None, "abstained")])
    return tmp_path / "run"


def check(rows: list[dict], infinite: float | None) -> None:
    assert [list(row) for row in rows] == [list(COLUMNS)] * 4
    assert [row["attempt"] for row in rows] == ["1/0/0", "1/0/0", "1/0/1", "2/0/0"]
    first, second, broken, last = rows
    expected = {
        "step": 1,
        "ordinal": 0,
        "sibling": 0,
        "task": "t",
        "source": "sum",
        "level": 3,
        "answer": "5",
        "error": None,
        "score": 0.1 + 0.2,
        "status": "checked",
        "attempt_compute": 60.0,
        "attempt_seconds": 0.25,
        "trace": "1/0/0:0",
        "parent": None,
        "policy": "policy",
        "role": "solver",
        "answers": True,
        "text": "5",
        "tokens": [7, 8],
        "sampled": [False, True],
        "logp": [0.0, -0.1],
        "version": [-1, 2],
        "start": 1,
        "stop_reason": "length",
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 9,
        "prompt_tokens": 1,
        "sampled_tokens": 1,
        "trace_score": None,
    }
    assert {name: first[name] for name in expected} == expected
    assert json.loads(first["prompt"]) == json.loads(first["task_prompt"]) == [{"role": "user", "content": "2+2=\n😀"}]
    assert (second["role"], second["parent"], second["answers"], second["trace_score"]) == ("critic", "1/0/0:0", False, 1.0)
    assert second["text"] == "no?"  # a lone surrogate has no place in UTF-8
    assert json.loads(second["marks"]) == {"value": 0.5}
    assert (broken["error"], broken["status"], broken["score"], broken["trace"]) == ("RuntimeError: boom", "abstained", None, None)
    assert broken["tokens"] is None
    assert (last["status"], last["logp"]) == (None, [infinite])


def test_parquet_and_jsonl_hold_the_same_rows(run: Path, tmp_path: Path) -> None:
    assert export_rollouts(run, tmp_path / "a.parquet") == 4
    check(pq.read_table(tmp_path / "a.parquet").to_pylist(), -math.inf)
    assert export_rollouts(str(run), str(tmp_path / "a.jsonl"), format="jsonl") == 4
    check([json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").split("\n")[:-1]], None)


def test_a_run_without_attempts_gives_an_empty_table(tmp_path: Path) -> None:
    Store(tmp_path / "run").create({"recipe": "x"}).close()
    assert export_rollouts(tmp_path / "run", tmp_path / "a.parquet") == 0
    assert pq.read_table(tmp_path / "a.parquet").column_names == list(COLUMNS)
    assert export_rollouts(tmp_path / "run", tmp_path / "a.jsonl", "jsonl") == 0
    assert (tmp_path / "a.jsonl").read_text() == ""


def test_a_large_run_is_written_in_blocks_and_while_it_runs(tmp_path: Path) -> None:
    with Store(tmp_path / "run").create({"recipe": "x"}) as store:
        for i in range(300):
            trace = Trace("t", tokens=tuple(range(1000)), logp=(-0.5,) * 1000)
            store.put_attempt(1, i, 0, TASK, Attempt(f"1/{i}/0", "t", None, (trace,)))
        assert export_rollouts(tmp_path / "run", tmp_path / "a.parquet") == 300
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert file.num_row_groups >= 3
    assert file.read(["ordinal"]).column("ordinal").to_pylist() == list(range(300))


def test_refusals(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="format is 'csv', expected 'parquet' or 'jsonl'"):
        export_rollouts(run, tmp_path / "a.csv", "csv")  # type: ignore[arg-type]
    (tmp_path / "there").write_text("mine")
    with pytest.raises(ValueError, match="exists already"):
        export_rollouts(run, tmp_path / "there", "jsonl")
    with pytest.raises(StoreError, match="holds no run"):
        export_rollouts(tmp_path / "nowhere", tmp_path / "a.jsonl", "jsonl")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"needs pyarrow, which is not installed; write: pip install 'journeyman\[parquet\]'"):
        export_rollouts(run, tmp_path / "a.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "there"]
