"""journeyman's GRPO as a worker: one command a line, {"do": "step"} or {"do": "exam"}, one JSON answer each."""

import asyncio
import json
import sys
import time

import torch
from lottery import luck

from journeyman.bench import wait
from journeyman.evals import summarise
from journeyman.evaluation import Exam, choose
from journeyman.feedback import auto, each
from journeyman.learners import Gradient
from journeyman.loop import train
from journeyman.policies import decoder_policy, load_policy
from journeyman.recipes import grpo
from journeyman.tasks import load_tasks
from journeyman.types import Sampling


def main(folder: str, threads: int, settings: dict) -> None:
    torch.set_num_threads(threads)
    held_out = choose(load_tasks(settings["tasks"], split="heldout"), settings["held_out"])
    exam = Exam(held_out, auto(), k=4, sampling=Sampling(settings["max_tokens"], 1.0))
    names = ("tasks", "batch", "siblings", "lr", "max_tokens", "seed")
    policy = load_policy(folder, device=settings["device"], dtype=settings["dtype"])
    if settings["half"]:
        assert isinstance(policy, decoder_policy.Decoder)
        policy.half = True
    feedback = each(lambda task, text: luck(task.prompt[-1]["content"], text)) if settings["lottery"] else "auto"
    run = grpo(policy=policy, feedback=feedback, steps=10**9, **{name: settings[name] for name in names})
    if settings["variant"] == "journeyman_full":
        decoder_policy.usable = lambda model: None
    if settings["variant"] in ("journeyman_full", "journeyman_rows"):
        Gradient.teaches = lambda self, lesson: any(lesson.train)  # type: ignore[method-assign]
    started = 0.0

    async def obey(*_) -> None:
        """Read commands until one asks for a step."""
        nonlocal started
        for line in sys.stdin:
            if json.loads(line)["do"] == "step":
                started = time.perf_counter()
                return
            found = summarise(await exam.sit(run.policies.snapshot())).overall.pass_1
            print(json.dumps({"accuracy": found.mean, "low": found.low, "high": found.high}), flush=True)
        raise SystemExit

    async def answer(run, step, groups, metrics) -> None:
        attempts = [a for g in groups for a in g.attempts]
        sampled = sum(a.cost.sampled_tokens for a in attempts)
        wait(settings["device"])
        right = sum(s == 1.0 for g in groups for s in g.scores()) / len(attempts)
        print(json.dumps({"seconds": time.perf_counter() - started, "tokens": sampled, "right": right}), flush=True)
        await obey()

    run.actions.append((1, answer))
    print(json.dumps({"ready": True}), flush=True)

    async def work() -> None:
        await obey()
        await train(run)

    asyncio.run(work())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
