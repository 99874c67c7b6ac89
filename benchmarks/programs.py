"""Thousands of concurrent strategy programs: what they cost beside the bare engine, and whether memory grows with tasks.

    python benchmarks/programs.py --out runs/bench_programs

``rate``: 2,000 programs of three dependent calls (draft, critique, revision; 32 tokens each) run at once. Every call that
reaches the engine is noted, and the same calls (context, seed, length) are then given to the engine alone, all at once; the
two alternate. Both draw the same tokens. ``memory``: 1,000 and then 50,000 tasks of one call each through a window of 2,000,
each in a fresh process; peak resident memory of both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from journeyman.bench import machine
from journeyman.feedback import exact
from journeyman.policies import load_policy
from journeyman.policies.decoder_policy import Decoder
from journeyman.protocols import View
from journeyman.runner import Runner
from journeyman.types import Answer, Assignment, Group, Question, Sampling, Task, user

TOKENS = 32


async def program(question: Question, policy: View) -> Answer:
    """Three calls, each of which needs the one before."""
    draft = await policy.sample(question.prompt)
    critique = await policy.extend(draft, turn=user("Verify each step of this attempt."), role="critic")
    revised = await policy.extend(critique, turn=user("Improve this attempt if it is wrong."))
    return Answer(revised.text, traces=(revised,))


async def one_call(question: Question, policy: View) -> Answer:
    trace = await policy.sample(question.prompt)
    return Answer(trace.text, traces=(trace,))


def assignments(n: int) -> Iterator[Assignment]:
    """Tasks made as they are asked for."""
    for i in range(n):
        a, b = i % 97, i % 89
        yield Assignment(Task(f"sum/{i}", user(f"Calculate {a} + {b}."), answer=str(a + b), source="sum"))


def rate(repeats: int, programs: int) -> dict:
    policy = load_policy("base", device="cpu")
    assert isinstance(policy, Decoder)
    policy.chat.ends = frozenset()  # every call draws all its tokens
    runner = Runner(program, exact(), sampling=Sampling(TOKENS), window=programs)
    calls: list[tuple] = []
    drawn = 0
    sample = policy.engine.sample

    async def noted(context, sampling, seed, **kw):
        calls.append((context, sampling, seed))
        return await sample(context, sampling, seed, **kw)

    def count(_: int, group: Group) -> None:
        nonlocal drawn
        drawn += sum(a.cost.sampled_tokens for a in group.attempts)

    async def bare() -> None:
        await asyncio.gather(*(sample(*call) for call in calls))

    times: dict[str, list[float]] = {"programs": [], "engine": []}
    policy.engine.sample = noted  # type: ignore[method-assign]
    asyncio.run(runner.visit({"policy": policy}, assignments(programs), "noted", count))
    policy.engine.sample = sample  # type: ignore[method-assign]
    assert drawn == programs * 3 * TOKENS, f"{drawn} tokens drawn"
    for turn in range(repeats + 1):
        for name in times:
            work = bare() if name == "engine" else runner.visit({"policy": policy}, assignments(programs), "noted", count)
            start = time.perf_counter()
            asyncio.run(work)
            if turn:
                times[name].append(programs * 3 * TOKENS / (time.perf_counter() - start))
    ratios = [a / b for a, b in zip(times["programs"], times["engine"], strict=True)]
    found = {name: {"median": statistics.median(x), "min": min(x), "max": max(x)} for name, x in times.items()}
    return {**found, "programs/engine": statistics.median(ratios), "ratios": ratios}


def memory(tasks: int) -> int:
    """Peak resident kilobytes of a process that runs so many tasks."""
    policy = load_policy("base", device="cpu")
    seen = 0

    def count(_: int, group: Group) -> None:
        nonlocal seen
        seen += 1

    runner = Runner(one_call, exact(), sampling=Sampling(4), window=2000)
    asyncio.run(runner.visit({"policy": policy}, assignments(tasks), "m", count))
    assert seen == tasks
    status = Path("/proc/self/status").read_text()  # not ru_maxrss, in which a process begins with that of its parent
    return int(status.split("VmHWM:")[1].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tasks", type=int, nargs="+", default=[1000, 10_000, 50_000])
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print(memory(args.memory_of))
        return
    result: dict = {"machine": machine(), "rate": rate(args.repeats, args.programs)}
    print({k: v for k, v in result["rate"].items() if k != "ratios"}, flush=True)
    command = [sys.executable, __file__, "--threads", str(args.threads), "--memory-of"]
    result["peak_kb"] = {n: int(subprocess.check_output([*command, str(n)], text=True)) for n in args.tasks}
    print(result["peak_kb"])
    if args.out:
        args.out.with_suffix(".json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
