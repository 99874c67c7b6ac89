"""HPT: each question is learned from its demonstration or from the model's own answers."""

from __future__ import annotations

from journeyman.credit import by_accuracy, demonstrate, group_mean
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import fixed_length, mix, nll, no_clip, over_behaviour, surrogate, weighted
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.tasks.solved import solved
from journeyman.types import Sampling


def hpt(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    gate: float = 0.0,
    sft_weight: float = 1.0,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """HPT: a question that the model hardly ever answers is learned from its worked solution (cross-entropy), any other by
    policy gradient on the model's own answers (R - mean, no clip, sum over tokens / length limit).

    [S183] Lv et al. 2025, arXiv 2509.04419. Differs from the paper in its sizes and learning rate and in having no entropy
    bonus (0.001 there).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file whose tasks have worked solutions.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    gate: Mean accuracy of the attempts up to which a task's demonstration is learned.
    sft_weight: Weight of the demonstrations' loss (0.3 for the paper's smallest model; 0.01 did best of 1, 0.1 and 0.01 on the
        packaged one, runs/arena.md).
    """
    source = solved(tasks_of(tasks))
    loss = mix(rl=surrogate(no_clip, over_behaviour, fixed_length(max_tokens)), sft=weighted(nll(), sft_weight))
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=by_accuracy(demonstrate(), group_mean(), gate),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
