"""LUFFY: a demonstration joins the model's own answers."""

from __future__ import annotations

from journeyman.credit import with_demonstration
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import demonstrated, entropy_bonus, fixed_length, no_clip, plus, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.tasks.solved import solved
from journeyman.types import Sampling


def luffy(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    gamma: float = 0.1,
    entropy: float = 0.001,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """LUFFY: the task's worked solution is one more sibling, and its rare tokens are given the larger steps.

    Yan et al. 2025, arXiv 2504.14945. Own answers: ratio * A without a clip; demonstration: gamma p / (p + gamma)^2 * A;
    A = R - mean over both; sum over tokens / length limit. Differs from the paper in its sizes and learning rate.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file whose tasks have worked solutions.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    gamma: Probability at which a demonstration's token has the largest step.
    entropy: Weight of the entropy bonus.
    """
    source = solved(tasks_of(tasks))
    loss = surrogate(no_clip, demonstrated(gamma), fixed_length(max_tokens))
    objective = plus(loss, entropy_bonus(entropy, fixed_length(max_tokens))) if entropy else loss
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=with_demonstration(),
        learners=Learners({"policy": Gradient(objective, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
