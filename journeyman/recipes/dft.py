"""DFT: supervised fine-tuning in which each token's loss is scaled by its own probability."""

from __future__ import annotations

from journeyman.credit import imitate_best
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import no_clip, probability, surrogate, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import solution
from journeyman.tasks.solved import solved
from journeyman.types import Sampling


def dft(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 100,
    batch: int = 64,
    lr: float = 3e-4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """Dynamic fine-tuning: cross-entropy of the tasks' own solutions, each token's loss times the token's probability
    (detached), mean over tokens.

    Wu et al. 2025, arXiv 2508.05629. It learns little from tokens that the model finds impossible, a new format included.
    Differs from the paper in its sizes and learning rate (5e-5, batch 256 there).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: What the evaluations are judged by; auto fits the tasks.
    batch: Tasks a step.
    """
    source = solved(tasks_of(tasks))
    loss = surrogate(clip=no_clip, ratio=probability, reduce=token_mean)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(solution(), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=1, seed=seed),
        credit=imitate_best(keep=1),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
