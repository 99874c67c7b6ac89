"""Supervised fine-tuning on the tasks' own solutions."""

from __future__ import annotations

from journeyman.credit import imitate_best
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import nll, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import solution
from journeyman.tasks.solved import solved
from journeyman.types import Sampling


def sft(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 100,
    batch: int = 64,
    lr: float = 3e-4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """Plain supervised fine-tuning: cross-entropy of the tasks' own solutions under the plain prompt, mean over tokens.

    A task's solution is its worked solution where it has one (GSM8K, MATH, the exact solver of a generator), else its
    gold answer as text. Nothing is sampled while training.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: What the evaluations are judged by; auto fits the tasks.
    batch: Tasks a step.
    """
    source = solved(tasks_of(tasks))
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(solution(), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=1, seed=seed),
        credit=imitate_best(keep=1),
        learners=Learners({"policy": Gradient(nll(token_mean), lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
