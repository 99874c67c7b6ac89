"""What an approximation does to learning: GRPO on the default tasks from the packaged model, with it and without.

Same seeds and tasks; held-out exams are sat in float32. ``int8.py`` and ``half.py`` say what is approximated.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict

from journeyman.evals import paired_difference
from journeyman.evaluation import Exam, choose
from journeyman.feedback import auto
from journeyman.loop import train
from journeyman.policies import load_policy
from journeyman.policies.decoder_policy import Decoder
from journeyman.recipes import grpo
from journeyman.recipes.parts import FRONTIER
from journeyman.run import Run
from journeyman.tasks import load_tasks
from journeyman.types import Sampling

SETTINGS = {"tasks": FRONTIER, "batch": 32, "siblings": 8, "lr": 2e-4, "max_tokens": 192}
Change = Callable[[Run, Decoder, int], None]


def learned(seed: int, steps: int, change: Change | None) -> dict:
    """One run: seconds of training, and the held-out accuracy of each task in float32 before and after."""
    policy = load_policy("base", device="cpu", seed=seed)
    assert isinstance(policy, Decoder)
    run = grpo(policy=policy, steps=steps, seed=seed, **SETTINGS)
    exam = Exam(choose(load_tasks(FRONTIER, split="heldout"), 400), auto(), k=4, sampling=Sampling(192))

    def sit() -> list[float]:
        groups = asyncio.run(exam.sit({"policy": policy.frozen().snapshot()}))
        return [sum(s == 1.0 for s in g.scores()) / len(g.attempts) for g in groups]

    before = sit()
    if change:
        change(run, policy, seed)
    start = time.perf_counter()
    asyncio.run(train(run))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "before": before, "after": sit()}


def curves(name: str, change: Change, seeds: int, steps: int) -> list[dict]:
    """A pair of runs for each seed; which is first takes turns."""
    rows = []
    for seed in range(seeds):
        kinds = ("float32", name) if seed % 2 else (name, "float32")
        pair = {kind: learned(seed, steps, change if kind == name else None) for kind in kinds}
        row = {
            "seed": seed,
            "before": statistics.mean(pair["float32"]["before"]),
            **{f"after, {kind}": statistics.mean(pair[kind]["after"]) for kind in ("float32", name)},
            f"{name} - float32": asdict(paired_difference(pair[name]["after"], pair["float32"]["after"])),
            "seconds": {kind: pair[kind]["seconds"] for kind in ("float32", name)},
        }
        print(json.dumps(row), flush=True)
        rows.append({**row, "runs": pair})
    return rows
