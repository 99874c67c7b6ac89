"""Learning with products in bfloat16: how much faster, and what it does to learning.

    python benchmarks/half.py speed --sizes base 25M --out runs/bench_half_speed.json
    python benchmarks/half.py curves --seeds 3 --out runs/bench_half_curves.json

``speed``: seconds of an update (the lessons of ``journeyman bench``) with and without, A B A B, and how far loss, gradient norm and
log-probabilities are apart. ``curves``: GRPO on the default tasks from the packaged model, sampling in float32; held-out exams
are sat in float32. ``benchmarks/grpo.py --half`` is a whole step beside TRL, whose own default is bfloat16.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from curves import SETTINGS, curves

from journeyman.batch import collate
from journeyman.bench import lessons_of, machine, model_of
from journeyman.learners import Gradient
from journeyman.learners.packing import totals_of
from journeyman.objectives import over_behaviour, ppo_clip, sequence_mean, surrogate
from journeyman.policies.decoder_policy import Decoder
from journeyman.protocols import words
from journeyman.run import Run


@torch.no_grad()
def distance(policy: Decoder) -> float:
    """Mean |difference| of the log-probabilities of 32 made-up lessons, nats a token."""
    lessons, found = lessons_of(policy.vocab, 32), []
    batch = collate(lessons, totals_of(lessons), torch.device("cpu"))
    for on in (True, False):
        policy.half = on
        found.append(policy.forward(batch, words("forward.logp"))["logp"][batch.train])
    return float((found[0] - found[1]).abs().mean())


def speed(size: str, repeats: int, rows: int) -> dict:
    policy = model_of(size, repeats, None, "cpu", "float32")
    lessons = lessons_of(policy.vocab, rows)
    learner = Gradient(surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=sequence_mean), lr=0.0)
    learner.prepare(policy)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    norms = {}
    for turn in range(repeats + 1):
        for on, taken in seconds.items():
            policy.half = on
            start = time.perf_counter()
            norms[on] = learner.update(policy, lessons)["grad_norm"]
            if turn:
                taken.append(time.perf_counter() - start)
    ratios = sorted(a / b for a, b in zip(seconds[False], seconds[True], strict=True))
    row = {
        "size": size,
        "float32": statistics.median(seconds[False]),
        "bfloat16": statistics.median(seconds[True]),
        "ratio": statistics.median(ratios),
        "min": ratios[0],
        "max": ratios[-1],
        "gradient norm": norms[True] / norms[False],
        "mean |difference| of logp": distance(policy),
    }
    print("  ".join(f"{k}={v:.5g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True)
    return row


def in_bfloat16(run: Run, policy: Decoder, seed: int) -> None:
    policy.half = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "curves"])
    parser.add_argument("--sizes", nargs="+", default=["base", "25M"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=256, help="lessons of an update")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    limit = machine()
    print(f"machine: {limit}", flush=True)
    if args.what == "speed":
        result = {"rows": [speed(size, args.repeats, args.rows) for size in args.sizes]}
    else:
        result = {"settings": SETTINGS, "steps": args.steps, "rows": curves("bfloat16", in_bfloat16, args.seeds, args.steps)}
    if args.out:
        args.out.write_text(json.dumps({"machine": limit, **result}, indent=1))


if __name__ == "__main__":
    main()
