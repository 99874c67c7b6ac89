"""REINFORCE++: advantages normalised over the batch."""

from __future__ import annotations

from journeyman.credit import batch_whitened
from journeyman.credit.batch_whitened import raw
from journeyman.credit.rules import centred
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import k2, kl_penalty, over_behaviour, plus, ppo_clip, surrogate, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def reinforce_pp(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    baseline: bool = False,
    beta: float = 0.0,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """REINFORCE++: PPO's clip without a critic; advantages are normalised over all tokens of the step, not within a group.

    With ``baseline``, each score has its group's mean taken off first. Hu et al. 2025, arXiv 2501.03262. Differs from the
    paper in its sizes and learning rate, and in that the KL is a term of the loss (k2) in both variants, off by default.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    baseline: Take the group's mean off first (needs at least 2 siblings to learn).
    beta: Weight of the KL penalty (k2) to the starting policy.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=token_mean)
    objective = plus(loss, kl_penalty(beta, k2)) if beta else loss
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=batch_whitened(centred if baseline else raw),
        learners=Learners({"policy": Gradient(objective, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
