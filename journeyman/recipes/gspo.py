"""GSPO: the importance ratio and its clip are those of a whole answer."""

from __future__ import annotations

from journeyman.credit import group_zscore
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, ppo_clip, sequence_mean, sequence_ratio, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def gspo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    low: float = 3e-4,
    high: float = 4e-4,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """GSPO: one importance ratio for a whole answer (the geometric mean over its tokens), clipped to 1 - 3e-4 .. 1 + 4e-4.

    Zheng et al. 2025, arXiv 2507.18071. Differs from the paper in its sizes and learning rate.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    low: How far below 1 the answer's ratio may be.
    high: How far above.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(low, high), ratio=sequence_ratio(over_behaviour), reduce=sequence_mean)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=group_zscore(),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
