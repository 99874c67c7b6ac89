"""What each choice that makes journeyman fast on a processor gives by itself.

    python benchmarks/choices.py --size base --out runs/bench_choices.json

Each choice is turned off in turn and the same work is done with it and without it, A B A B, in one process (the allocator's, which
cannot be turned off again, in two that take turns). The figure is the median of the ratios of neighbouring pairs, with the
least and the greatest: above 1, the choice is faster.

``update``: the gradient of a GRPO step on 32 groups of 8 that share a prompt of 64 tokens, each with 96 more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

from journeyman.bench import lessons_of, machine, model_of, sample, workloads
from journeyman.learners import Gradient
from journeyman.learners.packing import micro_batches
from journeyman.objectives import over_behaviour, ppo_clip, sequence_mean, surrogate
from journeyman.policies import decoder_policy
from journeyman.policies.decoder_policy import Decoder
from journeyman.types import Lesson

OFF: dict[str, list[tuple[str, str, object]]] = {
    "compiled kernels": [
        ("journeyman.policies.kernels", "load", lambda: None),
        *((f"journeyman.policies.{m}", "fast", lambda x: None) for m in ("compiled", "decoder", "packed")),
    ],
    "oneDNN products": [("journeyman.policies.products", "onednn_is_ahead", lambda: False)],
    "packed forward": [("journeyman.policies.decoder_policy", "usable", lambda model: None)],
    "micro-batches of 8,192": [
        ("journeyman.learners.gradient", "micro_batches", lambda lessons, most: micro_batches(lessons, 2 * most))
    ],
}
"""What stands for each choice when it is off: module, name, value. Without kernels there is no packed forward either."""
UPDATES = ("packed forward", "micro-batches of 8,192")  # choices that do not touch sampling


def groups(vocab: int, rows: int) -> list[Lesson]:
    """Made-up lessons whose groups share their prompts."""
    found = lessons_of(vocab, rows, 64, 96)
    first = {x.group: x.tokens[:64] for x in reversed(found)}
    return [
        Lesson(first[x.group] + x.tokens[64:], x.train, x.advantage, behaviour_logp=x.behaviour_logp, group=x.group) for x in found
    ]


def jobs(policy: Decoder, rows: int) -> dict[str, Callable[[], int]]:
    """Name -> work, which returns how many tokens it did."""
    vocab = policy.model.architecture.vocab_size
    lessons, work = groups(vocab, rows), workloads(vocab)
    learner = Gradient(surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=sequence_mean), lr=0.0)
    learner.prepare(policy)

    def update() -> int:
        learner.update(policy, lessons)
        policy.after_step({})  # a new fused copy, which takes the kernels or not
        return sum(len(x.tokens) for x in lessons)

    return {"update": update, **{name: lambda name=name: sample(policy, work[name]) for name in ("short", "siblings")}}


@contextlib.contextmanager
def off(choice: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for module, name, value in OFF[choice]:
            stack.enter_context(patch(f"{module}.{name}", value))
        yield


def rate(work: Callable[[], int]) -> float:
    start = time.perf_counter()
    return work() / (time.perf_counter() - start)


def compare(policy: Decoder, choice: str, job: str, work: Callable[[], int], repeats: int) -> dict:
    rates: dict[str, list[float]] = {"with": [], "without": []}
    for turn in range(repeats + 1):
        for which in rates:
            with contextlib.nullcontext() if which == "with" else off(choice):
                policy.after_step({})
                policy.snapshot()
                found = rate(work)
            if turn:  # the first is a warm-up
                rates[which].append(found)
    return row(choice, job, rates)


def row(choice: str, job: str, rates: dict[str, list[float]]) -> dict:
    ratios = sorted(a / b for a, b in zip(rates["with"], rates["without"], strict=True))
    medians = {f"tokens/s {k}": round(statistics.median(v)) for k, v in rates.items()}
    return {"choice": choice, "work": job, **medians, "ratio": statistics.median(ratios), "min": ratios[0], "max": ratios[-1]}


def worker(size: str, rows: int, kept: bool) -> None:
    """One rate a line read, of the job named there."""
    if not kept:
        decoder_policy.keep_freed_memory = lambda: False
    todo = jobs(model_of(size, 1, None, "cpu", "float32"), rows)
    for line in sys.stdin:
        print(rate(todo[line.strip()]), flush=True)


def allocator(size: str, rows: int, repeats: int) -> list[dict]:
    command = [sys.executable, __file__, "--size", size, "--rows", str(rows), "--worker"]
    running = {
        which: subprocess.Popen([*command, which], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for which in ("with", "without")
    }

    def ask(which: str, job: str) -> float:
        process = running[which]
        assert process.stdin
        assert process.stdout
        print(job, file=process.stdin, flush=True)
        return float(process.stdout.readline())

    found = []
    for job in ("update", "short", "siblings"):
        rates = {which: [ask(which, job) for _ in range(2)] for which in running}  # to warm up
        rates = {which: [] for which in running}
        for _ in range(repeats):
            for which in running:
                rates[which].append(ask(which, job))
        found.append(row("freed memory kept", job, rates))
    for process in running.values():
        process.communicate()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="base")
    parser.add_argument("--rows", type=int, default=256, help="lessons of an update")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--worker", choices=["with", "without"], help=argparse.SUPPRESS)
    parser.add_argument("--choices", nargs="+", choices=list(OFF), default=list(OFF), help="default: all, and the allocator")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.worker:
        return worker(args.size, args.rows, args.worker == "with")
    print(f"machine: {machine()}", flush=True)
    policy = model_of(args.size, args.repeats, None, "cpu", "float32")
    todo = jobs(policy, args.rows)
    rows = [
        compare(policy, choice, job, work, args.repeats)
        for choice in args.choices
        for job, work in todo.items()
        if choice not in UPDATES or job == "update"
    ]
    if args.choices == list(OFF):
        rows += allocator(args.size, args.rows, args.repeats)
    for x in rows:
        print("  ".join(f"{k}={v:.2f}" if isinstance(v, float) else f"{k}={v}" for k, v in x.items()), flush=True)
    if args.out:
        args.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
