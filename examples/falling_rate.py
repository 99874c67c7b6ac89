"""Any recipe with a learning rate that falls linearly to 0, as second stage of a longer run (runs/all_families.md).

    journeyman run examples/all_families.py --steps 90 --out out/first
    journeyman export out/first --what model --out out/first_model
    journeyman run examples/falling_rate.py --of grpo --policy out/first_model --out out/second

The noise of the last steps is what a constant rate leaves in the weights.
"""

import inspect
from dataclasses import replace

from journeyman import recipes
from journeyman.learners import Gradient, linear
from journeyman.recipes.parts import FRONTIER
from journeyman.run import Learners, Run


def recipe(
    of: str = "grpo",
    policy: str = "base",
    tasks: str = FRONTIER,
    steps: int = 120,
    batch: int = 64,
    lr: float = 2e-4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """The recipe ``of`` at a learning rate that rises over 10 optimiser steps to ``lr`` and falls to 0 at the last."""
    made = getattr(recipes, of, None)
    if not inspect.isfunction(made):
        raise ValueError(f"of={of!r}, expected the name of a recipe such as grpo or expert_iteration")
    run: Run = made(policy, tasks, steps=steps, batch=batch, lr=lr, max_tokens=max_tokens, seed=seed)
    learner = run.learners["policy"]
    if not isinstance(learner, Gradient):
        raise ValueError(f"{of} learns with {type(learner).__name__}, expected a recipe that learns with Gradient")
    updates = learner.updates * learner.epochs * steps
    return replace(run, learners=Learners({"policy": replace(learner, schedule=linear(updates, min(10, updates // 2)))}))
