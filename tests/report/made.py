"""Runs to report on: a complete one, and one whose every text attacks the page."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from journeyman.evals import paired_difference, summarise
from journeyman.evaluation import step_metrics
from journeyman.feedback import exact
from journeyman.runner import Runner
from journeyman.store import Session, Store
from journeyman.strategies import sample as one
from journeyman.testing import ScriptedPolicy, adds, sums
from journeyman.types import Answer, Assignment, Attempt, Group, Judgement, Sampling, Task, Trace, user

HOSTILE = "</script><img src=x onerror=alert(1)><!--<script>\x1b[31mred\x1b[0m"
RECORD = {"recipe": "expert_iteration", "arguments": {"tasks": "gym:sums", "steps": 3}, "options": {"eval_k": 2}}


def attempts(
    tasks: list[Task], wrong: float, seed: int, step: str, siblings: int = 4, memory: Session | None = None
) -> list[Group]:
    """Judged groups of a scripted policy that is wrong so often."""
    runner = Runner(one(), exact(), sampling=Sampling(8), seed=seed)
    given = [Assignment(task, siblings) for task in tasks]
    policies = {"policy": ScriptedPolicy(adds(wrong))}
    if memory is None:
        return asyncio.run(runner.groups(policies, given, step))
    return asyncio.run(runner.groups(policies, given, step, memory=memory))


def exam(wrong: float, seed: int) -> dict:
    groups = attempts(sums(12), wrong, seed, "eval", 2)
    shares = {g.task.id: sum(s == 1.0 for s in g.scores()) / 2 for g in groups}
    return {**summarise(groups, k=2).to_json(), "tasks": shares}


def complete_run(folder: Path) -> Path:
    """A complete run of three steps, made by the runner with a scripted policy that errs less with each."""
    with Store(folder).create(RECORD) as store:
        session = Session(store)
        for step in (1, 2, 3):
            session.begin_step(step)
            groups = attempts(sums(6), 0.6 - 0.15 * step, step, str(step), memory=session)
            extra = {"loss": 1.0 / step, "seconds": 2.0 * step, "trained_tokens": 10.0}
            store.end_step(step, {**step_metrics(groups), **extra})
    before, after = exam(0.6, 1), exam(0.1, 2)
    change = paired_difference([after["tasks"][t] for t in after["tasks"]], [before["tasks"][t] for t in after["tasks"]])
    (folder / "before.json").write_text(json.dumps(before))
    result = {"before": before, "after": after, "change": {k: getattr(change, k) for k in ("mean", "low", "high")}}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def hostile_run(folder: Path) -> Path:
    """Three attempts: one with two traces, one that failed, one with a million characters; all with HOSTILE wherever text goes."""
    task = Task(f"t{HOSTILE}", user(HOSTILE), HOSTILE, source=HOSTILE, level=1)
    first = Trace("1/0/0:0", role=HOSTILE, text=HOSTILE + "\ud800", prompt=task.prompt, marks={HOSTILE: HOSTILE})
    second = Trace(
        "1/0/0:1", policy="critic", role="critic", text="no", parent=first.id, prompt=user(HOSTILE), marks={"value": 0.5}
    )
    record = {"recipe": "grpo", "arguments": {"tasks": HOSTILE, "strategy": HOSTILE}, "options": {"reward": HOSTILE}}
    with Store(folder).create(record) as store:
        store.begin_step(1)
        store.put_attempt(1, 0, 0, task, Attempt("1/0/0", task.id, Answer(HOSTILE, first.id), (first, second)))
        store.put_attempt(1, 0, 1, task, Attempt("1/0/1", task.id, None, error=HOSTILE))
        giant = Trace("1/0/2:0", text=(HOSTILE + "\udfff\u202e ") * 14_000, prompt=task.prompt)  # a million characters
        store.put_attempt(1, 0, 2, task, Attempt("1/0/2", task.id, Answer(giant.text, giant.id), (giant,)))
        whole = Judgement("1/0/0", 0.0, evidence=HOSTILE, critique=HOSTILE, components={HOSTILE: 1.0})
        store.put_judgements([whole, Judgement("1/0/0", 0.25, trace=second.id)])
        store.end_step(1, {"accuracy": 0.0, f"{HOSTILE}/loss": 1.0, "loss": float("nan")})
    return folder
