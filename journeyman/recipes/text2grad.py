"""Text2Grad: the good and bad spans that a critic marks are the rewards of their tokens."""

from __future__ import annotations

from journeyman.credit import span_returns
from journeyman.curricula import uniform
from journeyman.feedback.critique import Critic
from journeyman.learners import Gradient
from journeyman.objectives import k2, kl_penalty, over_behaviour, plus, ppo_clip, surrogate, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.critics import critic_of, criticised
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def text2grad(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    critic: str | Critic = "solver",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    decay: float = 0.95,
    beta: float = 0.0,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """Text2Grad: +1 at the tokens of each span that a critic calls right and -1 at those it calls wrong, what follows counted with
    a decay, PPO's clip, mean over tokens. The verifier's score is not learned from.

    [S129] Wang et al. 2025, arXiv 2505.22338. Differs from the paper in its sizes, its learning rate, its critic (a reward model
    that writes feedback and spans there) and one optimiser step a batch (4 passes there), as ``span_returns`` says, and in a KL
    weight of 0 (0.2, adaptive, there).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    critic: solver (the exact step checkers of generated tasks), or a model folder (or base) that is asked to verify.
    batch: Tasks a step.
    siblings: Attempts at each task.
    decay: How much of what follows a token it is credited with (lambda).
    beta: Weight of the KL penalty (k2) to the starting policy.
    """
    source, policies = tasks_of(tasks), policies_of(policy, seed)
    judge = criticised(feedback_of(feedback), critic_of(critic, source), policies)
    loss = surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=token_mean)
    objective = plus(loss, kl_penalty(beta, k2)) if beta else loss
    return Run(
        policies=policies,
        runner=Runner(sample(), judge, sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=span_returns(decay=decay),
        learners=Learners({"policy": Gradient(objective, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
