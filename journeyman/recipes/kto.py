"""KTO: answers marked good or bad, without pairs."""

from __future__ import annotations

from journeyman.credit import bad_per_good, labelled
from journeyman.objectives import kto as kto_loss
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER
from journeyman.recipes.preference import preference_run
from journeyman.run import Run
from journeyman.types import Sampling


def kto(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 8,
    batch: int = 128,
    siblings: int = 8,
    beta: float = 0.1,
    desirable: float = 0.0,
    undesirable: float = 1.0,
    lr: float = 1e-4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """KTO: answers are good or bad, each by itself; what a gain over the starting policy is worth levels off, and so does a loss.

    Ethayarajh et al. 2024, arXiv 2402.01306 (beta 0.1). Differs from the paper in its answers, which the policy draws anew each
    round and a verifier labels, in a weight that follows how many of them are good, in its learning rate (for models of a few
    million parameters), and as ``kto`` the objective says.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    steps: Rounds of sampling and learning (8 optimiser steps each).
    batch: Tasks a round.
    siblings: Attempts at each task.
    beta: How far the policy may leave the starting one; lower is further.
    desirable: Weight of good answers; 0 for the number of bad ones for each good one in the step (at 1 the bad ones, which are
        more, are all that counts: runs/arena.md).
    undesirable: Weight of bad answers.
    """
    return preference_run(
        labelled(),
        kto_loss(beta, desirable or bad_per_good(), undesirable),
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
