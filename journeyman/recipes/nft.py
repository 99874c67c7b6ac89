"""NFT: supervised learning from right and from wrong answers."""

from __future__ import annotations

from journeyman.credit import group_mean
from journeyman.curricula import learnable, uniform
from journeyman.learners import Gradient
from journeyman.objectives import fixed_length, implicit_negative, over_behaviour, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def nft(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    floor: float = 1.0,
    refills: int = 3,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """NFT: right answers are imitated, wrong ones are learned by the likelihood of an implicit negative policy.

    [S158] Chen et al. 2025, arXiv 2505.18116. Scores must be 0 and 1. Differs from the paper in its sizes and learning rate,
    in dividing by answers x max_tokens (1000 a sample there), and in that a step that is still short of groups with both
    right and wrong answers after ``refills`` rounds goes on with those it has.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    floor: Least likelihood ratio of the implicit negative policy; below 1, wrong answers weigh more as they become likely.
    refills: How often a step may replace groups that are all right or all wrong.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=implicit_negative(floor), ratio=over_behaviour, reduce=fixed_length(max_tokens))
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=learnable(uniform(source, siblings=siblings, seed=seed)),
        credit=group_mean(),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
        refills=refills,
    )
