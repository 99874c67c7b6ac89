"""KL-Cov: a few tokens that make entropy fall are held where they are."""

from __future__ import annotations

from journeyman.credit import group_zscore, mark_covariant
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import drift_penalty, no_clip, over_old, plus, surrogate, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def kl_cov(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    share: float = 2e-3,
    kappa: float = 1.0,
    updates: int = 2,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """KL-Cov: GRPO without a clip, in which the tokens with the highest covariance of log-probability and advantage are held
    near their old log-probability.

    [S187] Cui et al. 2025, arXiv 2505.22617. Differs from the paper in its sizes and learning rate, and as
    ``mark_covariant`` says. The penalty acts from a step's second optimiser step on.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    share: Share of all tokens that is held.
    kappa: Weight of the penalty.
    updates: Optimiser steps a step (8 in the paper).
    """
    source = tasks_of(tasks)
    loss = plus(surrogate(clip=no_clip, ratio=over_old, reduce=token_mean), drift_penalty(kappa, token_mean))
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=mark_covariant(group_zscore(), share, seed=seed),
        learners=Learners({"policy": Gradient(loss, lr=lr, updates=updates, seed=seed)}),
        last=steps,
        batch=batch,
    )
