"""DPO: the better of two answers, against the policy as the run started."""

from __future__ import annotations

from journeyman.credit import pairs
from journeyman.objectives import dpo as dpo_loss
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER
from journeyman.recipes.preference import preference_run
from journeyman.run import Run
from journeyman.types import Sampling


def dpo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 8,
    batch: int = 128,
    siblings: int = 8,
    keep: int = 1,
    beta: float = 0.1,
    lr: float = 1e-4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """DPO: the log-ratio to the starting policy of the preferred answer goes up against that of the rejected one.

    Rafailov et al. 2023, arXiv 2305.18290 (beta 0.1). Differs from the paper in its pairs, which the policy draws anew each
    round and a verifier ranks (steps=1 is the paper's one round). The learning rate is for models of a few million parameters
    (5e-7 is common for large ones).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    steps: Rounds of sampling and learning (8 optimiser steps each).
    batch: Tasks a round.
    siblings: Attempts at each task.
    keep: Pairs of each task, the widest gap of scores first.
    beta: How far the policy may leave the starting one; lower is further.
    """
    return preference_run(
        pairs(keep),
        dpo_loss(beta),
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
