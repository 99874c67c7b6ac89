"""Clip-Cov: a few tokens that make entropy fall are left out."""

from __future__ import annotations

from journeyman.credit import drop_covariant, group_zscore
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, ppo_clip, surrogate, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def clip_cov(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    share: float = 2e-4,
    low: float = 1.0,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """Clip-Cov: GRPO in which a random few of the tokens with a high covariance of log-probability and advantage are left out.

    [S187] Cui et al. 2025, arXiv 2505.22617. Differs from the paper in its sizes and learning rate, and as
    ``drop_covariant`` says.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    share: Share of all tokens that is left out.
    low: Covariance from which on a token may be left out (up to 5).
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(1.0, 1.0), ratio=over_behaviour, reduce=token_mean)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=drop_covariant(group_zscore(), share, low, seed=seed),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
