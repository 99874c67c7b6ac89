"""UFO: conversations in which all that the model hears is that it was wrong."""

from __future__ import annotations

from journeyman.credit import group_zscore, turn_decayed
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, ppo_clip, surrogate, token_mean
from journeyman.prompts import ASK_AGAIN
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import retry_until_right
from journeyman.types import Sampling


def ufo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    turns: int = 5,
    lr: float = 2e-4,
    again: str = ASK_AGAIN[2],
    gamma: float = 0.5,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """UFO: a wrong answer hears "try again", up to five turns; the reward falls with each turn and with repeated answers, and is
    the credit of every token the model drew; PPO's clip (0.2, 0.28), mean over tokens.

    [S064] Liu et al. 2025, arXiv 2507.14295. Differs from the paper in its sizes and learning rate, in learning from every
    group (the quarter whose rewards vary most there), in having no KL and entropy terms (0.001 there), and as
    ``turn_decayed`` says.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    turns: Tries in one conversation.
    again: What a wrong answer is told.
    gamma: What each further turn leaves of the reward.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(0.2, 0.28), ratio=over_behaviour, reduce=token_mean)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(retry_until_right(turns, again), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=turn_decayed(group_zscore(), gamma),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
