"""Where the time of one GRPO step goes, and how short it could be if nothing but its matrix products were left.

    python benchmarks/step.py --size base --out runs/bench_step_base.json
    python benchmarks/step.py --size 25M --batch 16 --variant full

The step, its settings and the variants are those of ``benchmarks/grpo.py``: ``shipped`` as users have it, ``rows`` learning from
all rows, ``full`` also going through each prompt with each sibling, which is the work that TRL does. Sampling is clocked by
the clocks of ``benchmarks/breakdown.py``; the update by torch's profiler, which slows it and whose own work is left out. "products
alone" is the time that all products of the step's linear layers take at the machine's measured float32 rate: no program in float32
is faster at the same work, however good.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from breakdown import Clocks
from grpo import SETTINGS
from torch.profiler import ProfilerActivity, profile

from journeyman.bench import machine, model_of
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.loop import train
from journeyman.policies import decoder_policy
from journeyman.policies.decoder_policy import Decoder
from journeyman.recipes import grpo
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.types import Assignment, Group

OTHER = "other operations"
PARTS = {
    "products": ("aten::mm", "aten::addmm", "aten::bmm", "_linear_pointwise"),
    "attention": ("scaled_dot_product", "flash_attention"),
    "log-probabilities": ("LogProb", "log_softmax", "logsumexp"),
    "norms, rotary heads, gate": ("Heads", "RmsNorm", "SwiGlu", "Take"),
}


def part_of(name: str) -> str:
    """The part of an update to which one of torch's operations belongs."""
    return next((part for part, words in PARTS.items() if any(word in name for word in words)), OTHER)


def operations(name: str, shapes: Sequence[Sequence[int]]) -> float:
    """Multiplications and additions of one call, from its arguments' shapes; 0 where it is no product."""
    if "addmm" in name:
        (rows, inner), (_, out) = shapes[1], shapes[2]
        return 2.0 * rows * inner * out
    if name in ("aten::mm", "aten::bmm"):
        return 2.0 * math.prod(shapes[0]) * shapes[1][-1]
    return 2.0 * math.prod(shapes[0]) * shapes[1][0] if "_linear_pointwise" in name else 0.0


class Profile:
    """Seconds of phases and parts over the steps of a run after the first, and operations of its products."""

    def __init__(self, run: Run) -> None:
        self.clocks, self.parts = Clocks(), defaultdict[str, float](float)
        self.picking = self.sampling = self.updating = self.operations = self.profiling = 0.0
        self.others = defaultdict[str, float](float)
        self.on = False  # the first step warms up
        self._pick, self._groups, self._update = run.curriculum.pick, run.runner.groups, run.learners.update

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for owner, name, call in (
                (uniform, "pick", self.pick),
                (Runner, "groups", self.groups),
                (Learners, "update", self.update),
            ):
                stack.enter_context(patch.object(owner, name, call))
            yield

    def pick(self, n: int) -> list[Assignment]:
        start = time.perf_counter()
        found = self._pick(n)
        self.picking += self.on * (time.perf_counter() - start)
        return found

    async def groups(self, *arguments: Any, **named: Any) -> Any:
        if not self.on:
            return await self._groups(*arguments, **named)
        start = time.perf_counter()
        with self.clocks.running():
            found = await self._groups(*arguments, **named)
        self.sampling += time.perf_counter() - start
        return found

    def update(self, *arguments: Any) -> dict[str, float]:
        if not self.on:
            return self._update(*arguments)
        start = time.perf_counter()
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
            metrics = self._update(*arguments)
            taken = time.perf_counter() - start
        self.updating += taken
        for event in found.key_averages(group_by_input_shape=True):
            part = part_of(event.key)
            self.parts[part] += event.self_cpu_time_total / 1e6
            self.operations += event.count * operations(event.key, event.input_shapes)
            if part == OTHER:
                self.others[event.key] += event.self_cpu_time_total / 1e6
        self.profiling += time.perf_counter() - start - taken
        return metrics


def measure(policy: Decoder, batch: int, variant: str, steps: int) -> dict[str, Any]:
    """The profile of ``steps`` steps after a first, in seconds a step and operations a step."""
    settings = {name: SETTINGS[name] for name in ("tasks", "siblings", "lr", "max_tokens", "seed")}
    run = grpo(policy=policy, steps=steps + 1, batch=batch, **settings)
    found, starts, tokens = Profile(run), [], []

    async def mark(_: Run, __: int, groups: Sequence[Group], ___: dict[str, float]) -> None:
        starts.append(time.perf_counter())
        tokens.append(sum(a.cost.sampled_tokens for g in groups for a in g.attempts))
        found.on = True

    run.actions.append((1, mark))
    with found.running(), contextlib.ExitStack() as stack:
        if variant == "full":
            stack.enter_context(patch.object(decoder_policy, "usable", lambda model: None))
        if variant != "shipped":
            stack.enter_context(patch.object(Gradient, "teaches", lambda self, lesson: any(lesson.train)))
        asyncio.run(train(run))
    whole, sampled = (starts[-1] - starts[0] - found.profiling) / steps, 2.0 * found.clocks.products / steps
    sampling = {name: seconds / steps for name, seconds in found.clocks.seconds.items()}
    update = {name: seconds / steps for name, seconds in found.parts.items()}
    sampling["Python, cache, judging"] = found.sampling / steps - sum(sampling.values())
    update["Python between"] = found.updating / steps - sum(update.values())
    return {
        "seconds": whole,
        "sampled tokens": statistics.mean(tokens[1:]),
        "sampling": sampling,
        "update": update,
        "other operations": {name: seconds / steps for name, seconds in found.others.items()},
        "questions": found.picking / steps,
        "rest": whole - (found.picking + found.sampling + found.updating) / steps,
        "operations": {"sampling": sampled, "update": found.operations / steps},
    }


def show(row: dict[str, Any], gflops: float) -> None:
    """Shares of the step, and the bound."""
    whole = row["seconds"]

    def alone(work: float) -> float:
        return work / gflops / 1e9

    print(f"{whole:.2f} s a step, {row['sampled tokens']:,.0f} tokens sampled; machine {gflops:.0f} GFLOP/s")
    for phase in ("sampling", "update"):
        seconds, work = sum(row[phase].values()), row["operations"][phase]
        rate = work / row[phase].get("products", math.inf) / 1e9
        parts = ", ".join(f"{name} {s / whole:.1%}" for name, s in sorted(row[phase].items(), key=lambda x: -x[1]))
        print(f"  {phase} {seconds / whole:.0%} ({seconds:.2f} s): {parts}")
        print(f"    products: {work / 1e9:,.0f} GFLOP at {rate:.0f} GFLOP/s; at the machine's rate {alone(work):.2f} s")
    most = sorted(row[OTHER].items(), key=lambda x: -x[1])[:6]
    print("    most of the other operations: " + ", ".join(f"{name} {s / whole:.1%}" for name, s in most))
    least = alone(sum(row["operations"].values()))
    print(f"  questions {row['questions'] / whole:.1%}, rest {row['rest'] / whole:.1%}")
    print(f"  products alone {least:.2f} s, {whole / least:.2f} times faster than the step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="base", help="base, 25M, 135M or a model folder")
    parser.add_argument("--batch", type=int, default=SETTINGS["batch"], help="tasks a step, of 8 samples each")
    parser.add_argument("--variant", choices=["shipped", "rows", "full"], default="shipped")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    policy = model_of(options.size, options.steps, options.threads, "cpu", "float32")
    before = machine()
    row = measure(policy, options.batch, options.variant, options.steps)
    limit = {name: max(before[name], found) for name, found in machine().items()}
    print(f"{options.size}, {options.variant}, {options.batch} x {SETTINGS['siblings']} attempts")
    show(row, limit["gflops"])
    if options.out:
        options.out.write_text(json.dumps({"machine": limit, **vars(options), "out": None, **row}, indent=1) + "\n")


if __name__ == "__main__":
    main()
