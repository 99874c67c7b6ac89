"""Sampling in int8 while learning in float32: how much faster, and what it does to learning.

    python benchmarks/int8.py speed --sizes base 25M --out runs/bench_int8_speed.json
    python benchmarks/int8.py curves --seeds 3 --out runs/bench_int8_curves.json

``speed``: drawn tokens a second with and without, A B A B, and how far the two distributions are apart on the tasks' own
prompts: mean |log p_int8 - log p_float32| of drawn tokens, and KL(int8 || float32) a token. ``curves``: GRPO on the default tasks
from the packaged model; with int8 the loss has truncated importance weights (cap 2). Same seeds and tasks; held-out exams
are sat in float32. Prints each pair's difference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path

from curves import SETTINGS, curves

from journeyman.bench import machine, model_of, sample, workloads
from journeyman.learners import Gradient
from journeyman.objectives import over_old, ppo_clip, sequence_mean, surrogate, truncated
from journeyman.policies import load_policy
from journeyman.policies.decoder_policy import Decoder
from journeyman.recipes.parts import FRONTIER
from journeyman.run import Learners, Run
from journeyman.tasks import load_tasks
from journeyman.types import Sampling


def turned(policy: Decoder, on: bool) -> Decoder:
    """The policy, sampling in int8 or not from now on."""
    policy.int8 = on
    policy.after_step({})
    policy.snapshot()
    return policy


def speed(size: str, repeats: int, names: list[str]) -> list[dict]:
    policy, rows = model_of(size, repeats, None, "cpu", "float32"), []
    for work in (workloads(policy.model.architecture.vocab_size)[name] for name in names):
        rates: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(repeats + 1):
            for on in rates:
                turned(policy, on)
                start = time.perf_counter()
                drawn = sample(policy, work)
                if turn:
                    rates[on].append(drawn / (time.perf_counter() - start))
        ratios = sorted(a / b for a, b in zip(rates[True], rates[False], strict=True))
        medians = {"int8": statistics.median(rates[True]), "float32": statistics.median(rates[False])}
        row = {
            "size": size,
            "workload": work.name,
            **medians,
            "ratio": statistics.median(ratios),
            "min": ratios[0],
            "max": ratios[-1],
        }
        print("  ".join(f"{k}={v:,.2f}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True)
        rows.append(row)
    return rows


def distance(n: int = 128) -> dict[str, float]:
    """How far what int8 draws is from the float32 policy, over the drawn tokens of ``n`` tasks."""
    policy = load_policy("base", device="cpu")
    assert isinstance(policy, Decoder)
    tasks = load_tasks(FRONTIER, split="train")
    prompts = [policy.chat.prompt(tasks[i].prompt) for i in range(n)]
    turned(policy, True)

    async def draw() -> list:
        return await asyncio.gather(*(policy.engine.sample(p, Sampling(192), i) for i, p in enumerate(prompts)))

    drawn = asyncio.run(draw())
    exact = policy._score([p + tuple(d.tokens) for p, d in zip(prompts, drawn, strict=True)])
    apart = [b - a for p, d, e in zip(prompts, drawn, exact, strict=True) for a, b in zip(e[len(p) :], d.logp, strict=True)]
    found = {"tokens": len(apart), "mean |difference|": statistics.mean(map(abs, apart)), "KL": statistics.mean(apart)}
    print(found, flush=True)
    return found


def in_int8(run: Run, policy: Decoder, seed: int) -> None:
    """Sample in int8, and weigh the loss by truncated importance weights."""
    turned(policy, True)
    loss = surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_old, reduce=sequence_mean, correction=truncated(2.0))
    run.learners = Learners({"policy": Gradient(loss, lr=SETTINGS["lr"], seed=seed)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "curves"])
    parser.add_argument("--sizes", nargs="+", default=["base", "25M"])
    parser.add_argument("--workloads", nargs="+", default=["short", "siblings"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    limit = machine()
    print(f"machine: {limit}", flush=True)
    if args.what == "speed":
        result = {"rows": [r for size in args.sizes for r in speed(size, args.repeats, args.workloads)], "distance": distance()}
    else:
        result = {"settings": SETTINGS, "steps": args.steps, "rows": curves("int8", in_int8, args.seeds, args.steps)}
    if args.out:
        args.out.write_text(json.dumps({"machine": limit, **result}, indent=1))


if __name__ == "__main__":
    main()
