"""The attempts that a report shows: a sample over steps and outcomes, as plain JSON values that the page turns into text."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

from markupsafe import Markup

from journeyman.report.outline import OUTCOMES, Row, fetch
from journeyman.store import Store, Stored
from journeyman.types import Judgement, Prompt, Task, Trace

LIMIT = 400  # attempts on a page
BYTES = 3_000_000  # of their JSON, escaped: a page is for sharing
LONGEST = 12_000  # characters kept of one text


def sample(rows: list[Row], limit: int = LIMIT) -> list[Row]:
    """At most ``limit`` rows, spread over steps and outcomes: each outcome of each step gives one in turn. Which ones is a
    hash of their ids, so that a page that is drawn again shows the same attempts. In the order of the run."""
    steps = sorted({row.step for row in rows})
    most = max(1, limit // len(OUTCOMES))
    if len(steps) > most:  # evenly spaced, first and last included
        kept = {steps[round(i * (len(steps) - 1) / max(1, most - 1))] for i in range(most)}
    else:
        kept = set(steps)
    strata: dict[tuple[int, str], list[Row]] = {}
    for row in sorted((r for r in rows if r.step in kept), key=lambda r: crc32(r.id.encode(errors="replace"))):
        strata.setdefault((row.step, row.outcome), []).append(row)
    turns = sorted(((i, *key, row) for key, found in strata.items() for i, row in enumerate(found)), key=lambda turn: turn[:3])
    return sorted((turn[3] for turn in turns[:limit]), key=lambda r: (r.step, r.ordinal, r.sibling))


def browsable(store: Store, rows: list[Row], limit: int = LIMIT, size: int = BYTES) -> list[dict[str, Any]]:
    """The sampled attempts with all their traces; fewer than ``limit`` where they are longer than ``size`` bytes in all."""
    while True:
        found: list[dict[str, Any]] = []
        total = 0
        chosen = sample(rows, limit)
        for row, stored in zip(chosen, fetch(store, chosen), strict=True):
            found.append(attempt_of(row, stored))
            total += len(in_script(found[-1]))
            if total > size:
                break
        if total <= size or limit == 1:
            return found
        limit = max(1, int(limit * 0.9 * len(found) / len(chosen)))


def in_script(value: Any) -> Markup:
    """JSON that may stand in a script element whatever its texts hold: nothing in it opens or closes a tag or comment."""
    text = json.dumps(value, allow_nan=False)  # ASCII
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def attempt_of(row: Row, stored: Stored) -> dict[str, Any]:
    """One attempt as the page wants it."""
    attempt, task = stored.attempt, stored.task
    return {
        "id": attempt.id,
        "step": row.step,
        "task": task.id,
        "family": task.source,
        "level": task.level,
        "outcome": row.outcome,
        "prompt": messages(task.prompt),
        "gold": gold(task),
        "answer": None if attempt.answer is None else cut(attempt.answer.text),
        "confidence": None if attempt.answer is None else attempt.answer.confidence,
        "error": None if attempt.error is None else cut(attempt.error),
        "tokens": attempt.cost.sampled_tokens,
        "seconds": round(attempt.cost.seconds, 2),
        "judgements": [judgement(j) for j in stored.judgements if j.trace is None],
        "traces": [trace_of(t, stored) for t in attempt.traces],
    }


def trace_of(trace: Trace, stored: Stored) -> dict[str, Any]:
    """One trace: what it was asked where that is not the task itself, what it drew, its marks and its own judgements."""
    answer = stored.attempt.answer
    return {
        "id": trace.id,
        "parent": trace.parent,
        "role": trace.role,
        "policy": trace.policy,
        "asked": [] if trace.prompt == stored.task.prompt else messages(trace.prompt),
        "text": cut(trace.text),
        "stop": trace.stop_reason,
        "tokens": trace.sampled_tokens,
        "temperature": trace.sampling.temperature,
        "answers": answer is not None and answer.trace == trace.id,
        "marks": {name: cut(short(value), 600) for name, value in trace.marks.items()},
        "judgements": [judgement(j) for j in stored.judgements if j.trace == trace.id],
    }


def judgement(found: Judgement) -> dict[str, Any]:
    return {
        "score": found.score,
        "status": found.status,
        "evidence": cut(found.evidence, 2000),
        "critique": cut(found.critique, 4000),
        "components": {name: short(value) for name, value in found.components.items()},
    }


def messages(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": m["role"], "content": cut(m["content"])} for m in prompt]


def gold(task: Task) -> str:
    """The task's answer as people read it: a generated task keeps its text under "answer"."""
    value = task.answer
    if isinstance(value, dict) and "answer" in value:
        value = value["answer"]
    return cut(value if isinstance(value, str) else short(value), 2000)


def short(value: Any) -> str:
    """A plain value as text; numbers with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cut(text: str, longest: int = LONGEST) -> str:
    """The text, or its first ``longest`` characters and how many there were."""
    return text if len(text) <= longest else f"{text[:longest]}\n[... {len(text) - longest:,} more characters in the run folder]"
