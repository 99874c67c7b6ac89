"""HAPO: tokens are treated by how uncertain the policy was at them."""

from __future__ import annotations

from journeyman.credit import token_zscore, with_heat
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import entropy_clip, no_clip, over_behaviour, surrogate, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def hapo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    alpha: float = 1.0,
    beta: float = 1.0,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """HAPO: DAPO with scores normalised over tokens, and clip range and advantage that depend on each token's entropy.

    [S201] Liu et al. 2025, arXiv 2509.16591. Differs from the paper in its sizes and learning rate, in having one
    temperature for all tokens (its part 1 samples uncertain tokens hotter), no overlong penalty and no replacement of
    groups without signal, and as ``with_heat`` says.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    alpha: How strongly entropy moves the clip range.
    beta: How strongly it moves the advantage.
    """
    source = tasks_of(tasks)
    correction = entropy_clip(0.2, 0.2, alpha, beta, ratio=over_behaviour)
    loss = surrogate(no_clip, over_behaviour, token_mean, correction)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=with_heat(token_zscore()),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
