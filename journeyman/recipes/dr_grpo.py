"""Dr. GRPO: GRPO without its two biases."""

from __future__ import annotations

from journeyman.credit import group_mean
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import fixed_length, over_behaviour, ppo_clip, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def dr_grpo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    clip: float = 0.2,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """Dr. GRPO: GRPO without its two biases: no division by the group's std, none by the answer's own length.

    advantage = R - mean; loss = sum over tokens / (answers x max_tokens). Liu et al. 2025, "Understanding R1-Zero-Like
    Training", arXiv 2503.20783. Differs from the paper in the defaults of learning rate and length.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    clip: PPO clip range, both sides.
    max_tokens: Longest answer; also the constant that the loss is divided by.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(clip, clip), ratio=over_behaviour, reduce=fixed_length(max_tokens))
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=group_mean(),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
