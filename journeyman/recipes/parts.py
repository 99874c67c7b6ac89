"""What recipes share: from what a user may write (a spec or a part) to the part."""

from __future__ import annotations

from dataclasses import replace

from journeyman import feedback as feedbacks
from journeyman import strategies
from journeyman.learners import Gradient, linear
from journeyman.literal import parse
from journeyman.policies import load_policy
from journeyman.protocols import Feedback, Strategy, Tasks, Trainable
from journeyman.run import Learners, Policies, Run
from journeyman.tasks import load_tasks

FRONTIER = "gym:rotate_matrix@2,simple_equations@3,leg_counting@2"
"""Where the packaged base model (version 2) is right in 10 to 55 % of its answers, answers are short, and each step of a right one
is computed: the recipes' default tasks."""
EVERY_FRONTIER = (
    "gym:chain_sum@3,products@3,leg_counting@3,simple_equations@3,gcd@3,fraction_simplification@2,base_conversion@2,"
    "count_bits@3,number_sorting@2,spell_backward@3,letter_counting@3,countdown@1,mini_sudoku@3,rotate_matrix@2,"
    "knights_knaves@3,calendar_arithmetic@3,time_intervals@3"
)
"""The frontier level of each of its 17 families."""


def policies_of(policy: str | Trainable, seed: int) -> Policies:
    """The one policy of a single-model recipe: a folder's path, "base", or a policy already made."""
    return Policies(policy=load_policy(policy, seed=seed) if isinstance(policy, str) else policy)


def tasks_of(tasks: str | Tasks) -> Tasks:
    """A task spec ("gym:gcd@1", "train.jsonl") or a source already made. Specs read the training split."""
    return load_tasks(tasks, split="train") if isinstance(tasks, str) else tasks


def strategy_of(strategy: str | Strategy) -> Strategy:
    """A literal call ("vote(n=16)") or a strategy already made."""
    return parse(strategy, strategies) if isinstance(strategy, str) else strategy


def feedback_of(feedback: str | Feedback) -> Feedback:
    """A literal call ("exact()", "auto" for what fits the tasks), or a feedback already made."""
    return parse(feedback, feedbacks) if isinstance(feedback, str) else feedback


def falling(run: Run) -> Run:
    """The run with a learning rate that falls linearly to 0 at its last optimiser step, after a warm-up of at most ten."""
    learner = run.learners["policy"]
    if not isinstance(learner, Gradient):
        raise ValueError(f"the learner is {type(learner).__name__}, expected Gradient, whose optimiser steps are known beforehand")
    updates = learner.updates * run.last
    return replace(run, learners=Learners({"policy": replace(learner, schedule=linear(updates, min(10, updates // 2)))}))
