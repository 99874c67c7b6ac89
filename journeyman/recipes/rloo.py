"""RLOO: whole answers, each against the mean of the others."""

from __future__ import annotations

from journeyman.credit import leave_one_out
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import kl_penalty, no_clip, on_policy, plus, sequence_sum, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def rloo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    beta: float = 0.0,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """RLOO: REINFORCE on whole answers, each against the mean score of the others.

    advantage_i = R_i - mean of the other siblings; loss = sum over tokens / answers, no clip. Ahmadian et al. 2024, "Back
    to Basics", arXiv 2402.14740. Differs from the paper in putting the KL term into the loss (k3) and not the reward.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    beta: Weight of the KL penalty to the starting policy.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=no_clip, ratio=on_policy, reduce=sequence_sum)
    objective = plus(loss, kl_penalty(beta, reduce=sequence_sum)) if beta else loss
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=leave_one_out(),
        learners=Learners({"policy": Gradient(objective, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
