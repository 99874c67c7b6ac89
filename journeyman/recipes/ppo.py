"""PPO: each token is judged against what a value head expected there."""

from __future__ import annotations

from journeyman.credit import outcome
from journeyman.curricula import uniform
from journeyman.learners import Gradient, actor_critic
from journeyman.objectives import over_behaviour, plus, ppo_clip, surrogate, token_mean, value_loss
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def ppo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    lam: float = 1.0,
    value: float = 0.1,
    epochs: int = 4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """PPO: advantages by generalised advantage estimation over a learned value function, whitened; clip 0.2; token mean.

    Schulman et al. 2017, arXiv 1707.06347; gae: Schulman et al. 2015, arXiv 1506.02438. Differs from the papers in its sizes
    and learning rate, in gamma 1 (0.99 there) with the score at the last token as the only reward, in lam 1 (0.95 there; values
    start at 0, so the score would not reach tokens more than some fifty before the last: runs/arena.md), and in the value
    term's coefficient (0.5 or 1 there) and clip, as is customary for language models.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task; they are not compared, so 1 will do.
    lam: How far a token's credit looks ahead: 1 to the outcome, 0 to the next token's value.
    value: Coefficient of the value loss.
    epochs: Passes over the lessons of a step, one optimiser step each.
    """
    source = tasks_of(tasks)
    objective = plus(surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=token_mean), value_loss(value))
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=outcome(),
        learners=Learners({"policy": actor_critic(Gradient(objective, lr=lr, epochs=epochs, seed=seed), gamma=1.0, lam=lam)}),
        last=steps,
        batch=batch,
    )
