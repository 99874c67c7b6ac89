"""G2RPO on tokens: credit for one draw, all else equal."""

from __future__ import annotations

from journeyman.credit import over_branches, summed_views
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, ppo_clip, sequence_mean, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import forked
from journeyman.types import Sampling


def g2rpo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    ways: int = 12,
    step: int = 1,
    views: int = 3,
    lr: float = 2e-4,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """G2RPO carried over to tokens: the greedy answer forks at one random token, each way is finished greedily and judged at
    several lengths, and only the tokens of the fork are learned; advantages are normalised view by view, then summed.

    [S173] Zhou et al. 2025, arXiv 2510.01982 (12 directions, three granularities, the first half of the steps). The paper is about
    flow models; what stands here for its denoising step and its granularities is our extrapolation, as ``forked`` and
    ``summed_views`` say. Each task is forked once a step.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    ways: Draws at the place where an answer forks.
    step: Tokens of a draw.
    views: Lengths at which an answer is judged: max_tokens, a half of it, a quarter ...
    temperature: Of the draws; all else is greedy.
    """
    source, policies = tasks_of(tasks), policies_of(policy, seed)
    budgets = tuple(sorted({max(1, max_tokens >> k) for k in range(views)}))
    expert = forked(budgets, ways, step)
    loss = surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=sequence_mean)
    return Run(
        policies=policies,
        runner=Runner(expert, feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=1, seed=seed),
        credit=over_branches(summed_views(tuple(f"budget_{n}" for n in budgets))),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
