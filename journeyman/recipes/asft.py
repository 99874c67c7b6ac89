"""ASFT: dynamic fine-tuning that stays near the model it began with."""

from __future__ import annotations

from journeyman.credit import imitate_best
from journeyman.curricula import uniform
from journeyman.learners import Gradient, anchored
from journeyman.objectives import anchor_kl, no_clip, plus, probability, surrogate, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import solution
from journeyman.tasks.solved import solved
from journeyman.types import Sampling


def asft(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 100,
    batch: int = 64,
    lr: float = 3e-4,
    beta: float = 0.05,
    max_tokens: int = 192,
    micro_tokens: int = 4096,
    seed: int = 0,
) -> Run:
    """ASFT: DFT on the tasks' own solutions, plus beta * KL(start || model) over the whole vocabulary at each of their tokens;
    both as means over tokens.

    [S192] Zhu et al. 2025, arXiv 2509.23753. Differs from the paper in its sizes, its learning rate (5e-5 for mathematics
    there, with warm-up and a cosine) and in training anew on drawn tasks where the paper takes one to three passes.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: What the evaluations are judged by; auto fits the tasks.
    batch: Tasks a step.
    beta: Weight of the KL to the starting policy (lambda in the paper).
    micro_tokens: Tokens of a micro-batch, each with two sets of logits of the whole vocabulary.
    """
    source = solved(tasks_of(tasks))
    loss = plus(surrogate(clip=no_clip, ratio=probability, reduce=token_mean), anchor_kl(beta, token_mean))
    inner = Gradient(loss, lr=lr, micro_tokens=micro_tokens, seed=seed)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(solution(), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=1, seed=seed),
        credit=imitate_best(keep=1),
        learners=Learners({"policy": anchored(inner)}),
        last=steps,
        batch=batch,
    )
