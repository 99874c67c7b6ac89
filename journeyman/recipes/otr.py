"""OTR: supervised fine-tuning by policy gradient on one token at a time."""

from __future__ import annotations

from journeyman.credit import imitate_best
from journeyman.curricula import uniform
from journeyman.learners import Gradient
from journeyman.objectives import one_token, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import solution
from journeyman.tasks.solved import solved
from journeyman.types import Sampling


def otr(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 100,
    batch: int = 64,
    lr: float = 3e-4,
    kappa: float = 1.3,
    beta: float = -0.1,
    candidates: int = 0,
    max_tokens: int = 192,
    micro_tokens: int = 4096,
    seed: int = 0,
) -> Run:
    """OTR: at every token of the tasks' own solutions the model's next-token distribution is tried out: the token that stands
    there is rewarded with 1, any other with beta; mean over tokens.

    [S176] Ming et al. 2025, arXiv 2509.26313. With kappa 1 it is (1 - beta) times DFT in expectation. Differs from the paper in
    its sizes and learning rate, in the expectation over all tokens as the default where the paper draws 256 candidates, and in
    values of kappa and beta that were not checked against it (low confidence).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: What the evaluations are judged by; auto fits the tasks.
    batch: Tasks a step.
    kappa: Temperature at which candidates are drawn.
    beta: Reward of a token that is not the solution's.
    candidates: Tokens drawn at each place; 0 for the exact expectation over the vocabulary.
    micro_tokens: Tokens of a micro-batch, each with the logits of the whole vocabulary.
    """
    source = solved(tasks_of(tasks))
    loss = one_token(kappa, beta, candidates or None, token_mean, seed)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(solution(), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=1, seed=seed),
        credit=imitate_best(keep=1),
        learners=Learners({"policy": Gradient(loss, lr=lr, micro_tokens=micro_tokens, seed=seed)}),
        last=steps,
        batch=batch,
    )
