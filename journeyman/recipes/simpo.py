"""SimPO: the better of two answers, by mean log-probability and without a reference."""

from __future__ import annotations

from journeyman.credit import pairs
from journeyman.objectives import simpo as simpo_loss
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER
from journeyman.recipes.preference import preference_run
from journeyman.run import Run
from journeyman.types import Sampling


def simpo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 8,
    batch: int = 128,
    siblings: int = 8,
    keep: int = 1,
    beta: float = 2.0,
    gamma: float = 1.0,
    lr: float = 1e-4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """SimPO: the mean log-probability of a preferred answer is to be above the rejected one's by a margin; no reference model.

    Meng et al. 2024, arXiv 2405.14734. Differs from the paper in its pairs, which the policy draws anew each round and a verifier
    ranks (steps=1 is the paper's one round), and in its learning rate (for models of a few million parameters).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    steps: Rounds of sampling and learning (8 optimiser steps each).
    batch: Tasks a round.
    siblings: Attempts at each task.
    keep: Pairs of each task, the widest gap of scores first.
    beta: Scale of the difference.
    gamma: The margin.
    """
    return preference_run(
        pairs(keep),
        simpo_loss(beta, gamma),
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
