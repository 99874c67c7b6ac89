"""What preference recipes share: the plain policy samples siblings, credit compares them, a preference loss learns."""

from __future__ import annotations

from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.protocols import Credit, Feedback, Objective, Tasks, Trainable
from journeyman.recipes.parts import feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def preference_run(
    credit: Credit,
    objective: Objective,
    *,
    policy: str | Trainable,
    tasks: str | Tasks,
    feedback: str | Feedback,
    steps: int,
    batch: int,
    siblings: int,
    lr: float,
    sampling: Sampling,
    seed: int,
    updates: int = 8,
) -> Run:
    """Rounds of: sample siblings, make lessons of their comparison, take ``updates`` optimiser steps on them."""
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=sampling, seed=seed),
        curriculum=uniform(tasks_of(tasks), siblings=siblings, seed=seed),
        credit=credit,
        learners=Learners({"policy": Gradient(objective, lr=lr, updates=updates, seed=seed)}),
        last=steps,
        batch=batch,
    )
