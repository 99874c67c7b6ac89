"""RepExp: answers that are unlike their siblings are paid for it."""

from __future__ import annotations

from journeyman.credit import outcome
from journeyman.credit.novelty import elliptical
from journeyman.curricula import uniform
from journeyman.learners import Gradient, exploring
from journeyman.objectives import over_behaviour, ppo_clip, sequence_mean, surrogate
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def repexp(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    bonus: float = 0.01,
    width: int = 32,
    lam: float = 0.01,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """RepExp: GRPO whose reward has a bonus for an answer's elliptical novelty among its siblings, by the hidden states of the
    starting model: h^T (lam I + sum over the others of h h^T)^-1 h, h centred within the group; none where all are wrong.

    [S121] Tuyls et al. 2025, arXiv 2510.11686. As in its released run (the paper's formula has the sum over all, h not centred,
    and always a bonus). Differs from the paper in its sizes, its learning rate (1e-6 there), and in the loss's mean over answers.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Attempts at each task.
    bonus: Weight of the novelty beside the verifier's score; its scale depends on width and lam.
    width: Dimensions that hidden states are projected to (128 for harder tasks).
    lam: Regularisation of their covariance.
    """
    source = tasks_of(tasks)
    loss = surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=sequence_mean)
    novelty = elliptical(lam, apart=True, centred=True)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(sample(), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=outcome(),
        learners=Learners({"policy": exploring(Gradient(loss, lr=lr, seed=seed), bonus, novelty, width)}),
        last=steps,
        batch=batch,
    )
