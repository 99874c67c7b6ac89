"""STaR: rationales that reach the answer, hints for the rest, a fresh start each round."""

from __future__ import annotations

from journeyman.credit import imitate_best
from journeyman.curricula import uniform
from journeyman.learners import Gradient, restart
from journeyman.objectives import nll, sequence_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import rationalize
from journeyman.types import Sampling


def star(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 6,
    batch: int = 500,
    updates: int = 40,
    growth: float = 1.2,
    lr: float = 3e-4,
    max_tokens: int = 256,
    temperature: float = 0.7,
    seed: int = 0,
) -> Run:
    """STaR: keep rationales that reach the right answer, give the answer as a hint for the rest, and train anew from the
    original model each round, a little longer each time.

    Zelikman et al. 2022, arXiv 2203.14465. Differs from the paper in sampling (greedy or few-shot there) and in the optimiser
    steps, which here are spread over the round's rows.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    steps: How many rounds.
    batch: Tasks a round.
    updates: Optimiser steps in round 1.
    growth: Factor by which they grow each round.
    """
    source = tasks_of(tasks)
    inner = Gradient(nll(sequence_mean), lr=lr, updates=updates, seed=seed)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(rationalize(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=1, seed=seed),
        credit=imitate_best(keep=1),
        learners=Learners({"policy": restart(inner, growth=growth)}),
        last=steps,
        batch=batch,
    )
