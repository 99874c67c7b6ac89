"""ExPO: GRPO, and the model's own explanations of answers it did not find."""

from __future__ import annotations

from journeyman.credit import group_zscore, self_explained
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import over_old, ppo_clip, sequence_mean, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import rationalize
from journeyman.types import Sampling


def expo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    beta: float = 0.04,
    hint: str = "Hint: the answer is {answer}. Show the steps that lead to it.",
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """ExPO (ExP-GRPO): GRPO on answers given without help; where one is wrong the model is shown the answer and explains it, and
    one such explanation of a task is imitated under the plain question, with a small weight.

    [S021] Zhou et al. 2025, arXiv 2507.02834 (beta 0.04). Differs from the paper in its sizes, its learning rate and its hint,
    in having no KL penalty, and as ``self_explained`` says.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    beta: Weight of the log-probability (summed over tokens) of an explanation.
    hint: How the answer is shown; holds {answer}.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_old, reduce=sequence_mean)
    strategy = rationalize(hint=hint)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(strategy, feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=self_explained(group_zscore(), beta),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
