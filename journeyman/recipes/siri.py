"""SIRI: the length budget of answers breathes in and out."""

from __future__ import annotations

from journeyman.credit import group_zscore, length_cycle, within
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, ppo_clip, sequence_mean, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def siri(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    shortest: float = 0.5,
    period: int = 12,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """SIRI: GRPO with a higher upper clip (0.28), under a length budget that goes from ``max_tokens`` down to ``shortest``
    of it and back along a cosine.

    [S081] Wen et al. 2025, arXiv 2509.25176. Differs from the paper in its sizes and learning rate (16384 and 8192 tokens, a
    period of 640 steps there), and as ``within`` says.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    shortest: Length budget half a period after the longest, as a share of max_tokens.
    period: Steps from one longest budget to the next.
    max_tokens: Longest answer; also the longest budget.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(0.2, 0.28), ratio=over_behaviour, reduce=sequence_mean)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=within(group_zscore(), length_cycle(max_tokens, max(1, round(shortest * max_tokens)), period)),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
