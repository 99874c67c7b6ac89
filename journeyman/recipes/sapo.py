"""SAPO: a soft gate in place of the clip."""

from __future__ import annotations

from journeyman.credit import group_zscore
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, sequence_mean, soft_gate, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def sapo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    positive: float = 1.0,
    negative: float = 1.05,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """SAPO: GRPO with a gate that lets tokens fade out as the policy moves, faster where the advantage is negative.

    Gao et al. 2025, arXiv 2511.20347. Differs from the paper in its sizes and learning rate.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    positive: Temperature of the gate where the advantage is positive.
    negative: Temperature where it is negative.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=soft_gate(positive, negative), ratio=over_behaviour, reduce=sequence_mean)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=group_zscore(),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
