"""IPO: the better of two answers, with a squared loss."""

from __future__ import annotations

from journeyman.credit import pairs
from journeyman.objectives import ipo as ipo_loss
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER
from journeyman.recipes.preference import preference_run
from journeyman.run import Run
from journeyman.types import Sampling


def ipo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 8,
    batch: int = 128,
    siblings: int = 8,
    keep: int = 1,
    tau: float = 0.1,
    lr: float = 1e-4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """IPO: the gap of log-ratios between the preferred and the rejected answer is drawn to 1 / (2 tau), and no further.

    Azar et al. 2023, arXiv 2310.12036. Differs from the paper in its pairs, which the policy draws anew each round and a
    verifier ranks. The learning rate is for models of a few million parameters.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    steps: Rounds of sampling and learning (8 optimiser steps each).
    batch: Tasks a round.
    siblings: Attempts at each task.
    keep: Pairs of each task, the widest gap of scores first.
    tau: The gap to reach is 1 / (2 tau).
    """
    return preference_run(
        pairs(keep),
        ipo_loss(tau),
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
