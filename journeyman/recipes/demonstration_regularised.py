"""Demonstration-regularised RL: reward, less the divergence from a clone of the demonstrations."""

from __future__ import annotations

from journeyman.credit import leave_one_out
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import no_clip, over_behaviour, plus, sequence_sum, surrogate, trajectory_kl
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def demonstration_regularised(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    lam: float = 0.05,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """Demonstration-regularised RL, second stage: policy gradient on R - lam * (log pi - log clone) of whole answers, from the
    clone on.

    [S024] Tiapkin et al. 2023, arXiv 2310.17303. The first stage, behaviour cloning, is a run of its own: recipe sft on tasks with
    solutions; its exported model is the policy here, and with that both where this run starts and what it is held to. The
    model that comes with the package is such a clone of exact solvers. Differs from the paper in sampled gradients against
    the mean of the other siblings, where the paper plans with bonuses for exploration, and in lam, which the paper derives
    from the number of demonstrations and the accuracy wanted (low confidence: the card is made from the abstract).

    Parameters
    ----------
    policy: Folder of the clone, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    lam: Reward that a nat of divergence from the clone costs.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=no_clip, ratio=over_behaviour, reduce=sequence_sum)
    objective = plus(loss, trajectory_kl(lam, over_behaviour, sequence_sum))
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=leave_one_out(),
        learners=Learners({"policy": Gradient(objective, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
