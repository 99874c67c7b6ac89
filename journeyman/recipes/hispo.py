"""HisPO: tokens on which sampler and learner disagree are left out."""

from __future__ import annotations

from journeyman.credit import group_zscore
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import agreement, fixed_length, over_behaviour, ppo_clip, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def hispo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    sequence: float = 0.2,
    token: float = 0.3,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """HisPO: Dr. GRPO's clip over the sampler's own probabilities, without the answers and tokens on which sampler and learner
    disagree although their weights are the same.

    [S217] LongCat-Flash-Prover, Wang et al. 2026, arXiv 2603.21065. The paper publishes no thresholds: those here are of the
    method card's example, the clip is DAPO's with a dual clip of 3. Advantages are those of GRPO.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    sequence: How far from 1 an answer's mean disagreement may be.
    token: How far from 1 a token's may be.
    """
    source = tasks_of(tasks)
    clip, correction = ppo_clip(0.2, 0.28, dual=3.0), agreement(sequence, token)
    loss = surrogate(clip, over_behaviour, fixed_length(max_tokens), correction)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=group_zscore(),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
