"""Evaluate a strategy on tasks: before and after a run, during it, and from the command line."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from journeyman.evals import summarise
from journeyman.protocols import Feedback, Policy, Strategy, Tasks
from journeyman.run import Action, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Assignment, Group, Sampling, Task


@dataclass(frozen=True)
class Exam:
    """A fixed set of tasks and how it is sat: ``k`` attempts a task of ``strategy``, judged by ``feedback``."""

    tasks: Sequence[Task]
    feedback: Feedback
    strategy: Strategy = field(default_factory=sample)
    k: int = 1
    sampling: Sampling = Sampling()
    seed: int = 0
    window: int = 512

    async def sit(self, policies: Mapping[str, Policy], actor: str = "policy") -> list[Group]:
        """A judged group for each task. Seeds depend on the exam alone, so that two policies sit the same exam."""
        runner = Runner(self.strategy, self.feedback, actor, self.sampling, seed=self.seed, window=self.window)
        return await runner.groups(policies, [Assignment(t, self.k) for t in self.tasks], "eval")


def choose(tasks: Tasks, n: int | None, seed: int = 0) -> list[Task]:
    """n tasks of a source drawn without replacement, or all of them."""
    count = len(tasks)
    picked = range(count) if n is None or n >= count else sorted(random.Random(seed).sample(range(count), n))
    return [tasks[i] for i in picked]


def examines(exam: Exam) -> Action:
    """The action that adds the exam's accuracy to the step's metrics, as ``eval/accuracy`` with ``/low`` and ``/high``."""

    async def examine(run: Run, step: int, groups: Sequence[Group], metrics: dict[str, float]) -> None:

        found = summarise(await exam.sit(run.policies.snapshot(), run.runner.actor)).overall.pass_1
        metrics |= {"eval/accuracy": found.mean, "eval/accuracy/low": found.low, "eval/accuracy/high": found.high}

    return examine


def step_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """What the actors of a step did: accuracy over checked attempts, shares of what was not checked and of tasks that
    were solved at least once, lengths, tokens."""
    attempts = [a for g in groups for a in g.attempts]
    scores = [s for g in groups for s in g.scores()]
    checked = [s for s in scores if s is not None]
    drawn = [t for a in attempts for t in a.traces if t.sampled_tokens]
    sampled = sum(a.cost.sampled_tokens for a in attempts)
    logp = sum(x for t in drawn for x, s in zip(t.logp[t.start :], t.sampled[t.start :], strict=True) if s)
    return {
        "accuracy": sum(checked) / len(checked) if checked else 0.0,
        "unchecked": 1 - len(checked) / len(scores),
        "errors": sum(a.error is not None for a in attempts) / len(attempts),
        "solved": sum(any(s is not None and s >= 1.0 for s in g.scores()) for g in groups) / len(groups),
        "informative": sum(len(set(g.scores()) - {None}) > 1 for g in groups) / len(groups),
        "truncated": sum(t.stop_reason in ("length", "context") for t in drawn) / max(1, len(drawn)),
        "length": sampled / max(1, len(drawn)),
        "surprise": -logp / max(1, sampled),  # nats a token: an unbiased estimate of the sampling entropy
        "attempts": float(len(attempts)),
        "sampled_tokens": float(sampled),
        "prompt_tokens": float(sum(a.cost.prompt_tokens for a in attempts)),
        "compute": sum(g.cost.compute for g in groups),
        "judging_compute": sum(j.cost.compute for g in groups for j in g.judgements),
    }
