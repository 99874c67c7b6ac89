"""RFT: one round of rejection sampling and fine-tuning."""

from __future__ import annotations

from journeyman.credit import equation_list, imitate_best
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import nll, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def rft(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    batch: int = 1000,
    siblings: int = 32,
    keep: int = 32,
    epochs: int = 3,
    updates: int = 50,
    lr: float = 3e-4,
    max_tokens: int = 256,
    temperature: float = 0.7,
    seed: int = 0,
) -> Run:
    """RFT: one round of sampling many answers, keeping the right ones that differ in their equations, and fine-tuning.

    Yuan et al. 2023, arXiv 2308.01825. Differs from the paper in that no human solutions are mixed in (the tasks need not
    have any) and in its sizes (100 samples there).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks in the one round.
    siblings: Attempts at each task.
    keep: At most so many distinct right answers a task.
    epochs: Passes over what was kept.
    updates: Optimiser steps an epoch.
    """
    source = tasks_of(tasks)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=imitate_best(keep=keep, distinct=equation_list),
        learners=Learners({"policy": Gradient(nll(token_mean), lr=lr, epochs=epochs, updates=updates, seed=seed)}),
        last=1,
        batch=batch,
    )
