"""A run's attempts as a table that other tools read: Parquet or JSON lines, one row a trace."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from journeyman.loggers import extra
from journeyman.store.codec import printable
from journeyman.store.store import Store, Stored
from journeyman.types import Trace

Row = dict[str, Any]
COLUMNS = {  # name -> pyarrow type
    "step": "int64",
    "ordinal": "int64",
    "sibling": "int64",
    "attempt": "string",
    "task": "string",
    "source": "string",
    "level": "int64",
    "task_prompt": "string",  # JSON messages
    "answer": "string",  # what the strategy returned
    "error": "string",
    "score": "float64",  # of the attempt; null unless checked
    "status": "string",  # of the attempt's judgement
    "attempt_compute": "float64",
    "attempt_seconds": "float64",
    "trace": "string",
    "parent": "string",
    "policy": "string",
    "role": "string",
    "answers": "bool",  # whether this trace holds the answer
    "prompt": "string",  # JSON messages, as this call saw them
    "text": "string",
    "tokens": "tokens",
    "sampled": "mask",
    "logp": "floats",
    "version": "tokens",
    "start": "int64",
    "stop_reason": "string",
    "temperature": "float64",
    "top_p": "float64",
    "max_tokens": "int64",
    "prompt_tokens": "int64",
    "sampled_tokens": "int64",
    "trace_score": "float64",  # of this trace's own judgement, where feedback gave one
    "marks": "string",  # JSON
}
BLOCK = 100_000  # tokens of traces held before a block of rows is written: bounds memory whatever the run's size


def export_rollouts(
    run_folder: str | os.PathLike[str], out: str | os.PathLike[str], format: Literal["parquet", "jsonl"] = "parquet"
) -> int:
    """Write every stored attempt to the new file ``out``; returns how many rows. The run may still be running.

    One row a trace, with the columns of its attempt and task repeated; an attempt that failed before any call has one
    row whose trace columns are null. A log-probability that is not finite is null in JSON lines. Reads and writes block
    by block; ``out`` appears when it is complete.
    """
    if format not in ("parquet", "jsonl"):
        raise ValueError(f"format is {format!r}, expected 'parquet' or 'jsonl'")
    out = Path(out)
    if out.exists():
        raise ValueError(f"{out} exists already; name a new file or remove it first")
    writer = _parquet if format == "parquet" else _jsonl
    part = out.with_name(out.name + ".part")
    count = 0
    with Store(run_folder).open(readonly=True) as store, writer(part) as write:
        for block in _blocks(store):
            write(block)
            count += len(block)
    part.replace(out)
    return count


def _blocks(store: Store) -> Iterator[list[Row]]:
    block: list[Row] = []
    held = 0
    for stored in store.attempts():
        for trace in stored.attempt.traces or (None,):
            block.append(_row(stored, trace))
            held += 100 + (len(trace.tokens) + len(trace.text) if trace else 0)
            if held >= BLOCK:
                yield block
                block, held = [], 0
    if block:
        yield block


def _row(stored: Stored, trace: Trace | None) -> Row:
    attempt, task = stored.attempt, stored.task
    whole = next((j for j in stored.judgements if j.trace is None), None)
    row: Row = dict.fromkeys(COLUMNS) | {
        "step": stored.step,
        "ordinal": stored.ordinal,
        "sibling": stored.sibling,
        "attempt": attempt.id,
        "task": task.id,
        "source": task.source,
        "level": task.level,
        "task_prompt": json.dumps(task.prompt),
        "answer": None if attempt.answer is None else attempt.answer.text,
        "error": attempt.error,
        "score": None if whole is None else whole.score,
        "status": None if whole is None else whole.status,
        "attempt_compute": attempt.cost.compute,
        "attempt_seconds": attempt.cost.seconds,
    }
    if trace is not None:
        own = next((j for j in stored.judgements if j.trace == trace.id), None)
        row |= {
            "trace": trace.id,
            "parent": trace.parent,
            "policy": trace.policy,
            "role": trace.role,
            "answers": attempt.answer is not None and attempt.answer.trace == trace.id,
            "prompt": json.dumps(trace.prompt),
            "text": trace.text,
            "tokens": trace.tokens,
            "sampled": trace.sampled,
            "logp": trace.logp,
            "version": trace.version,
            "start": trace.start,
            "stop_reason": trace.stop_reason,
            "temperature": trace.sampling.temperature,
            "top_p": trace.sampling.top_p,
            "max_tokens": trace.sampling.max_tokens,
            "prompt_tokens": trace.prompt_tokens,
            "sampled_tokens": trace.sampled_tokens,
            "trace_score": None if own is None else own.score,
            "marks": json.dumps(trace.marks),
        }
    return {name: printable(cell) if isinstance(cell, str) else cell for name, cell in row.items()}


@contextmanager
def _jsonl(path: Path) -> Iterator[Callable[[list[Row]], None]]:
    with path.open("w", encoding="utf-8") as file:

        def write(rows: list[Row]) -> None:
            for row in rows:
                # JSON has no infinities and no NaN: other readers would refuse the line, so they become null there.
                logp = None if row["logp"] is None else [x if math.isfinite(x) else None for x in row["logp"]]
                file.write(json.dumps(row | {"logp": logp}, ensure_ascii=False, allow_nan=False) + "\n")

        yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Callable[[list[Row]], None]]:
    pa = extra("pyarrow", "parquet", "export to Parquet")
    pq = extra("pyarrow.parquet", "parquet", "export to Parquet")
    special = {"tokens": pa.list_(pa.int64()), "mask": pa.list_(pa.bool_()), "floats": pa.list_(pa.float64())}
    plain = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
    schema = pa.schema([(name, (special | plain)[kind]) for name, kind in COLUMNS.items()])
    with pq.ParquetWriter(path, schema, compression="zstd") as file:

        def write(rows: list[Row]) -> None:
            file.write_table(pa.Table.from_pylist(rows, schema=schema))

        yield write
