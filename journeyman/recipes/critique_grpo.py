"""Critique-GRPO: refinements of wrong answers join the group."""

from __future__ import annotations

from journeyman.credit import with_refinement
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import demonstrated, entropy_bonus, fixed_length, no_clip, plus, surrogate
from journeyman.prompts import ASK_AGAIN
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import retry_until_right
from journeyman.types import Sampling


def critique_grpo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 7,
    lr: float = 2e-4,
    again: str = ASK_AGAIN[0],
    gamma: float = 0.1,
    entropy: float = 0.001,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """Critique-GRPO: a wrong answer is told so and tried again; the best second try of a group is one more sibling, learned under
    the plain question, its rare tokens with the larger steps.

    [S063] Zhang et al. 2025, arXiv 2506.03106. First answers: ratio * A without a clip; refinement: gamma p / (p + gamma)^2 * A;
    A = R - mean over both; sum over tokens / length limit. Differs from the paper in its sizes and learning rate, and as
    ``with_refinement`` says.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    again: What a wrong answer is told.
    gamma: Probability at which a refinement's token has the largest step.
    entropy: Weight of the entropy bonus.
    """
    source = tasks_of(tasks)
    loss = surrogate(no_clip, demonstrated(gamma), fixed_length(max_tokens))
    objective = plus(loss, entropy_bonus(entropy, fixed_length(max_tokens))) if entropy else loss
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(retry_until_right(2, again), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=with_refinement(),
        learners=Learners({"policy": Gradient(objective, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
