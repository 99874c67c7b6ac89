"""CURE: attempts branch where the policy was unsure, and all branches are one group."""

from __future__ import annotations

from journeyman.credit import group_zscore, over_branches, overlong
from journeyman.curricula import learnable, uniform, with_branches
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, ppo_clip, surrogate, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.recipes.reading import Reading
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import branched
from journeyman.types import Sampling


def cure(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 4,
    branches: int = 3,
    top: int = 4,
    letters: int = 1,
    lr: float = 2e-4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """CURE, stage 1: each answer is drawn anew from one of its most uncertain tokens, several times; answers and branches are
    one group, learned as in DAPO. A branch's copied beginning is not learned.

    Stage 2 is DAPO from where stage 1 ended: journeyman export DIR --what model --out ONE, then journeyman run dapo --policy ONE.
    In the paper the first stage keeps the entropy up and the second turns what was explored into accuracy.

    [S060] Li et al. 2025, arXiv 2508.11016. Differs from the paper in its sizes (512 prompts, answers of up to 2596 tokens, the 20
    most uncertain as candidates, the soft zone of the length penalty 512 tokens, a third here), in that tokens of one character
    may be left (letters is 2 there): digits are such tokens, and what short calculations have to decide; and as ``dapo`` says.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step, after groups that are all right or all wrong were replaced.
    siblings: Attempts at each task, each with its branches.
    branches: Answers drawn from the uncertain token of each attempt.
    top: Of so many most uncertain tokens of an answer one is taken.
    letters: Fewest characters of a token at which a branch may begin.
    """
    source, policies = tasks_of(tasks), policies_of(policy, seed)
    expert = branched(Reading(policies["policy"]), branches, top, letters)
    soft = overlong(max_tokens, max(1, max_tokens // 3), scale=0.5)
    loss = surrogate(clip=ppo_clip(0.2, 0.28), ratio=over_behaviour, reduce=token_mean)
    return Run(
        policies=policies,
        runner=Runner(expert, feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=with_branches(learnable(uniform(source, siblings=siblings, seed=seed))),
        credit=over_branches(group_zscore(shaper=soft)),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
        refills=3,
    )
