"""Iterative DPO: pairs drawn anew each round, the reference re-anchored."""

from __future__ import annotations

from journeyman.credit import pairs
from journeyman.objectives import chosen_nll, dpo, plus, weighted
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER
from journeyman.recipes.preference import preference_run
from journeyman.run import Run
from journeyman.types import Sampling


def iterative_dpo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 8,
    batch: int = 128,
    siblings: int = 8,
    keep: int = 4,
    beta: float = 0.1,
    nll: float = 1.0,
    lr: float = 1e-4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """Iterative DPO: each round draws pairs from the policy as it is and takes that policy as the reference.

    Iterative RPO, Pang et al. 2024, arXiv 2404.19733 (beta 0.1, nll 1, keep 10 of 30 siblings) and [S188] RLHF Workflow, Dong
    et al. 2024, arXiv 2405.07863 (nll 0, smoothing 0.1, keep 1). Differs from the papers in its defaults: 8 siblings and 4
    pairs. The learning rate is for models of a few million parameters (5e-7 there).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    steps: Rounds of sampling and learning (8 optimiser steps each).
    batch: Tasks a round.
    siblings: Attempts at each task.
    keep: Pairs of each task, the widest gap of scores first.
    beta: How far the policy may leave the round's first one; lower is further.
    nll: Weight of imitating the preferred answer.
    """
    return preference_run(
        pairs(keep),
        plus(dpo(beta, reference="old_logp"), weighted(chosen_nll(), nll)),
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
