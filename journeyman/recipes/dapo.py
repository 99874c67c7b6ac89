"""DAPO: GRPO with four changes."""

from __future__ import annotations

from journeyman.credit import group_zscore, overlong
from journeyman.curricula import learnable, uniform
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, ppo_clip, surrogate, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def dapo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    refills: int = 3,
    max_tokens: int = 192,
    soft: int = 64,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """DAPO: GRPO with a higher upper clip (0.28), groups without signal replaced, the mean over all tokens of the batch,
    and a soft penalty for answers that near the length limit.

    Yu et al. 2025, arXiv 2503.14476. Differs from the paper in its sizes (16 siblings, 512 prompts, length 20480 with a soft
    zone of 4096 there), in that scores are 0 and 1 (-1 and 1 there, so the penalty is halved here), and in that a step
    that is still short of groups after ``refills`` rounds goes on with those it has.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step, after groups that are all right or all wrong were replaced.
    siblings: Attempts at each task.
    refills: How often a step may replace groups.
    soft: Width in tokens of the zone before max_tokens where the length penalty grows from 0 to 1.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(0.2, 0.28), ratio=over_behaviour, reduce=token_mean)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=learnable(uniform(source, siblings=siblings, seed=seed)),
        credit=group_zscore(shaper=overlong(max_tokens, soft, scale=0.5)),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
        refills=refills,
    )
