"""Nash-MP: a preference game against oneself, in two proximal steps."""

from __future__ import annotations

from dataclasses import replace

from journeyman.credit import win_rate
from journeyman.learners import Gradient, mirror_prox
from journeyman.objectives import nash
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER
from journeyman.recipes.preference import preference_run
from journeyman.run import Learners, Run
from journeyman.types import Sampling


def nash_mp(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    beta: float = 0.01,
    eta: float = 0.1,
    updates: int = 4,
    lr: float = 2e-4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """Nash-MP: win against your own answers, then, from the same weights, against those of the policy that came out.

    [S177] Tiapkin et al. 2025, arXiv 2505.19731. Its settings for language models were not verified (low confidence). Differs
    from the paper in comparing siblings by a verifier's scores, where a judge of pairs would stand.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    steps: Proximal steps; two make one iteration.
    batch: Tasks a step.
    siblings: Attempts at each task, each the others' opponent.
    beta: Weight of the KL to the starting policy.
    eta: beta / eta is the weight of the KL to the policy before the step.
    updates: Optimiser steps a proximal step.
    """
    run = preference_run(
        win_rate(),
        nash(beta, eta),
        policy=policy,
        tasks=tasks,
        feedback=feedback,
        steps=steps,
        batch=batch,
        siblings=siblings,
        lr=lr,
        sampling=Sampling(max_tokens),
        seed=seed,
        updates=updates,
    )
    inner = run.learners["policy"]
    assert isinstance(inner, Gradient)
    return replace(run, learners=Learners({"policy": mirror_prox(inner)}))
