"""PROF: GRPO on the answers whose steps and outcome agree."""

from __future__ import annotations

from journeyman.credit import group_zscore, process_consistent
from journeyman.curricula import uniform
from journeyman.feedback.critique import Critic
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, ppo_clip, sequence_mean, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.critics import critic_of, criticised
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def prof(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    critic: str | Critic = "solver",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    remove: int = 4,
    lr: float = 2e-4,
    max_tokens: int = 192,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """PROF: of each group the answers are left out whose steps, as a critic sees them, agree least with their outcome; GRPO on
    the rest.

    [S154] Ye et al. 2025, arXiv 2509.03403. Differs from the paper in its sizes, its learning rate and its critic (a trained
    process reward model there), and as ``process_consistent`` says.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    critic: solver (the exact step checkers of generated tasks), or a model folder (or base) that is asked to verify.
    batch: Tasks a step.
    siblings: Attempts at each task.
    remove: Attempts of each group that are left out.
    """
    if siblings - remove < 2:
        raise ValueError(
            f"prof removes {remove} of {siblings} attempts, but credit compares at least 2; write remove={siblings // 2}"
        )
    source, policies = tasks_of(tasks), policies_of(policy, seed)
    judge = criticised(feedback_of(feedback), critic_of(critic, source, later=0.0), policies)
    loss = surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=sequence_mean)
    return Run(
        policies=policies,
        runner=Runner(sample(), judge, sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=process_consistent(group_zscore(), remove, seed=seed),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
