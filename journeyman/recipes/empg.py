"""EMPG: certain steps get the larger share of the credit."""

from __future__ import annotations

from journeyman.credit import entropy_modulated, group_zscore
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, ppo_clip, sequence_mean, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def empg(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    sharpness: float = 1.0,
    bonus: float = 0.05,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """EMPG: GRPO whose advantages are scaled by how certain the policy was at each step.

    [S196] Wang et al. 2025, arXiv 2509.09265. Made for answers of several turns; an answer of one turn is one step. Differs
    from the paper in its sizes and learning rate, and as ``entropy_modulated`` says.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    sharpness: How strongly certainty scales the credit.
    bonus: Credit for leading to a certain next step.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=sequence_mean)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=entropy_modulated(group_zscore(), sharpness, sharpness, bonus),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
