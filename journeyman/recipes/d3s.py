"""D3S: learn from the answers that differ most and from their uncertain tokens."""

from __future__ import annotations

from journeyman.credit import down_sampled, group_zscore, ramp
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, ppo_clip, surrogate, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def d3s(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    answers: float = 0.5,
    tokens: float = 0.2,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """D3S: GRPO on the answers whose advantages vary most, and on their tokens with the largest |advantage| * entropy.

    [S200] Wang et al. 2025, arXiv 2509.22115. Both shares grow over ``steps`` to 1. Differs from the paper in its sizes and
    learning rate, in the shares, which the method card does not have, and as ``down_sampled`` says.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    answers: Share of a group's answers that is learned in the first step.
    tokens: Share of their tokens.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=token_mean)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=down_sampled(group_zscore(), ramp(answers, 1.0, steps), ramp(tokens, 1.0, steps)),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
