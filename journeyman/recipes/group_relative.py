"""Group-relative policy gradients: the plain policy samples siblings, each is judged against the others."""

from __future__ import annotations

from journeyman.credit import group_mean, group_zscore, leave_one_out, overlong
from journeyman.curricula import learnable, uniform
from journeyman.learners import Gradient
from journeyman.objectives import (
    fixed_length,
    kl_penalty,
    no_clip,
    on_policy,
    over_behaviour,
    plus,
    ppo_clip,
    sequence_mean,
    sequence_sum,
    surrogate,
    token_mean,
)
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def grpo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = "gym:letter_counting@0-1",
    feedback: str | Feedback = "auto",
    steps: int = 30,
    batch: int = 48,
    siblings: int = 8,
    lr: float = 2e-4,
    beta: float = 0.0,
    clip: float = 0.2,
    max_tokens: int = 128,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """GRPO: advantage (R - mean) / std within a group, PPO clip, mean over each answer's tokens.

    Shao et al. 2024 (DeepSeekMath), arXiv 2402.03300. Differs from the paper in its defaults: 8 siblings (64 there), a
    learning rate for models of a few million parameters (1e-6 there), no KL penalty (beta 0.04 there).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    beta: Weight of the KL penalty (k3) to the starting policy.
    clip: PPO clip range, both sides.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(clip, clip), ratio=over_behaviour, reduce=sequence_mean)
    objective = plus(loss, kl_penalty(beta, reduce=sequence_mean)) if beta else loss
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=group_zscore(),
        learners=Learners({"policy": Gradient(objective, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )


def dr_grpo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = "gym:letter_counting@0-1",
    feedback: str | Feedback = "auto",
    steps: int = 30,
    batch: int = 48,
    siblings: int = 8,
    lr: float = 2e-4,
    clip: float = 0.2,
    max_tokens: int = 128,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """Dr. GRPO: GRPO without its two biases: no division by the group's std, none by the answer's own length.

    advantage = R - mean; loss = sum over tokens / (answers x max_tokens). Liu et al. 2025, "Understanding R1-Zero-Like
    Training", arXiv 2503.20783. Differs from the paper in the defaults of learning rate and length.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    clip: PPO clip range, both sides.
    max_tokens: Longest answer; also the constant that the loss is divided by.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(clip, clip), ratio=over_behaviour, reduce=fixed_length(max_tokens))
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=group_mean(),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )


def rloo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = "gym:letter_counting@0-1",
    feedback: str | Feedback = "auto",
    steps: int = 30,
    batch: int = 48,
    siblings: int = 8,
    lr: float = 2e-4,
    beta: float = 0.0,
    max_tokens: int = 128,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """RLOO: REINFORCE on whole answers, each against the mean score of the others.

    advantage_i = R_i - mean of the other siblings; loss = sum over tokens / answers, no clip. Ahmadian et al. 2024, "Back
    to Basics", arXiv 2402.14740. Differs from the paper in putting the KL term into the loss (k3) and not the reward.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    beta: Weight of the KL penalty to the starting policy.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=no_clip, ratio=on_policy, reduce=sequence_sum)
    objective = plus(loss, kl_penalty(beta, reduce=sequence_sum)) if beta else loss
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=leave_one_out(),
        learners=Learners({"policy": Gradient(objective, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )


def dapo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = "gym:letter_counting@0-1",
    feedback: str | Feedback = "auto",
    steps: int = 30,
    batch: int = 48,
    siblings: int = 8,
    lr: float = 2e-4,
    refills: int = 3,
    max_tokens: int = 128,
    soft: int = 64,
    temperature: float = 1.0,
    seed: int = 0,
) -> Run:
    """DAPO: GRPO with a higher upper clip (0.28), groups without signal replaced, the mean over all tokens of the batch,
    and a soft penalty for answers that near the length limit.

    Yu et al. 2025, arXiv 2503.14476. Differs from the paper in its sizes (16 siblings, 512 prompts, length 20480 with a soft
    zone of 4096 there), in that scores are 0 and 1 (-1 and 1 there, so the penalty is halved here), and in that a step
    that is still short of groups after ``refills`` rounds goes on with those it has.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step, after groups that are all right or all wrong were replaced.
    siblings: Attempts at each task.
    refills: How often a step may replace groups.
    soft: Width in tokens of the zone before max_tokens where the length penalty grows from 0 to 1.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(0.2, 0.28), ratio=over_behaviour, reduce=token_mean)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=learnable(uniform(source, siblings=siblings, seed=seed)),
        credit=group_zscore(shaper=overlong(max_tokens, soft, scale=0.5)),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
        refills=refills,
    )
