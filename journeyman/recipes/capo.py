"""CAPO: GRPO in which the tokens of wrong steps lose reward."""

from __future__ import annotations

from journeyman.credit import step_penalised
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


def capo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    critic: str | Critic = "solver",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    whole: float = 2.0,
    process: float = 1.0,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """CAPO: each token's reward is the answer's, less a penalty in steps that a critic finds wrong; normalised over all tokens of
    a group, then GRPO's loss.

    [S125] Xie et al. 2025, arXiv 2508.02298. Differs from the paper in its sizes, its learning rate and its critic (a large
    language model there, which writes several critiques: ``by_policy(model, critiques=4, temperature=1.0)``).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    critic: solver (the exact step checkers of generated tasks), or a model folder (or base) that is asked to verify.
    batch: Tasks a step.
    siblings: Attempts at each task.
    whole: Reward of a right answer.
    process: What a token of a wrong step loses; below whole, so that right answers with wrong steps stay above wrong ones.
    """
    source, policies = tasks_of(tasks), policies_of(policy, seed)
    judge = criticised(feedback_of(feedback), critic_of(critic, source), policies)
    loss = surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=sequence_mean)
    return Run(
        policies=policies,
        runner=Runner(sample(), judge, sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=step_penalised(whole, process),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
