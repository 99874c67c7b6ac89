"""Any recipe with several optimiser steps on each batch of answers: only then do ratios leave 1, and clips begin to bite.

    journeyman compare "examples/mini_batches.py --of grpo" "examples/mini_batches.py --of gspo" --budget-tokens 450000 --out out

A recipe that takes another as an argument and changes one number of it.
"""

import inspect
from dataclasses import replace

from journeyman import recipes
from journeyman.learners import Gradient
from journeyman.recipes.parts import FRONTIER
from journeyman.run import Learners, Run


def recipe(
    of: str = "grpo",
    updates: int = 4,
    policy: str = "base",
    tasks: str = FRONTIER,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """The recipe ``of`` with its batch of answers learned in ``updates`` mini-batches, one optimiser step each."""
    made = getattr(recipes, of, None)
    if not inspect.isfunction(made):
        raise ValueError(f"of={of!r}, expected the name of a recipe such as grpo, gspo or cispo")
    run: Run = made(policy, tasks, max_tokens=max_tokens, seed=seed)
    learner = run.learners["policy"]
    if not isinstance(learner, Gradient):
        raise ValueError(f"{of} learns with {type(learner).__name__}, expected a recipe that learns with Gradient")
    return replace(run, learners=Learners({"policy": replace(learner, updates=updates)}))
