"""GRPO: the plain policy samples siblings, each is judged against the others."""

from __future__ import annotations

from journeyman.credit import group_zscore
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import kl_penalty, over_behaviour, plus, ppo_clip, sequence_mean, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def grpo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    beta: float = 0.0,
    clip: float = 0.2,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """GRPO: advantage (R - mean) / std within a group, PPO clip, mean over each answer's tokens.

    Shao et al. 2024 (DeepSeekMath), arXiv 2402.03300. Differs from the paper in its defaults: 8 siblings (64 there), a
    learning rate for models of a few million parameters (1e-6 there), no KL penalty (beta 0.04 there).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    beta: Weight of the KL penalty (k3) to the starting policy.
    clip: PPO clip range, both sides.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(clip, clip), ratio=over_behaviour, reduce=sequence_mean)
    objective = plus(loss, kl_penalty(beta, reduce=sequence_mean)) if beta else loss
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=group_zscore(),
        learners=Learners({"policy": Gradient(objective, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
