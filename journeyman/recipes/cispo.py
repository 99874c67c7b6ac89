"""CISPO: importance weights are capped, no token is dropped."""

from __future__ import annotations

from journeyman.credit import group_zscore
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import cap, over_behaviour, surrogate, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def cispo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    ratio_max: float = 1.28,
    updates: int = 2,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """CISPO: GRPO's advantages, importance weights capped at ``ratio_max`` and no token's gradient dropped, mean over tokens.

    MiniMax-M1 (2025), arXiv 2506.13585. Differs from the paper in its sizes and learning rate, and in ``ratio_max`` (1.28 is that
    of the method card's example).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    ratio_max: Largest importance weight (1 + epsilon_high in the paper's symbols).
    updates: Optimiser steps a step; the cap matters from the second on.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=cap(ratio_max), ratio=over_behaviour, reduce=token_mean)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=group_zscore(),
        learners=Learners({"policy": Gradient(loss, lr=lr, updates=updates, seed=seed)}),
        last=steps,
        batch=batch,
    )
