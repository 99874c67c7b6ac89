"""ORPO: imitation of the better answer and odds against the worse, without a reference model."""

from __future__ import annotations

from journeyman.credit import pairs
from journeyman.objectives import orpo as orpo_loss
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER
from journeyman.recipes.preference import preference_run
from journeyman.run import Run
from journeyman.types import Sampling


def orpo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 8,
    batch: int = 128,
    siblings: int = 8,
    keep: int = 1,
    weight: float = 0.1,
    lr: float = 1e-4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """ORPO: imitates the preferred answer and raises its odds against the rejected one, in one loss.

    Hong et al. 2024, arXiv 2403.07691 (weight 0.1). Differs from the paper in its pairs, which the policy draws anew each round
    and a verifier ranks. The learning rate is for models of a few million parameters (5e-6 to 8e-6 in the paper).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    steps: Rounds of sampling and learning (8 optimiser steps each).
    batch: Tasks a round.
    siblings: Attempts at each task.
    keep: Pairs of each task, the widest gap of scores first.
    weight: Weight of the odds ratio beside imitation.
    """
    return preference_run(
        pairs(keep),
        orpo_loss(weight),
        policy=policy,
        tasks=tasks,
        feedback=feedback,
        steps=steps,
        batch=batch,
        siblings=siblings,
        lr=lr,
        sampling=Sampling(max_tokens),
        seed=seed,
    )
