"""Expert iteration: an expert answers, the verifier filters, the model imitates what is left."""

from __future__ import annotations

from journeyman.credit import imitate_best
from journeyman.curricula import uniform
from journeyman.learners import Gradient, constant
from journeyman.objectives import nll, token_mean
from journeyman.protocols import Feedback, Strategy, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, strategy_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.types import Sampling


def expert_iteration(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    strategy: str | Strategy = "sample",
    feedback: str | Feedback = "auto",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 1e-4,
    keep: int = 4,
    replay: float = 0.5,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """Expert iteration, the flagship: an expert answers, answers that the verifier accepts are put under the plain prompt, the
    model learns them, and the next round's expert is built on the better model.

    The expert is best-of-``siblings`` of a strategy by the verifier; write strategy="vote(n=8)" for a stronger one.
    ExIt: Anthony, Tian, Barber 2017, arXiv 1705.08439. Differs from the paper in that the expert is a strategy over a
    language model, not a tree search over a board, and in that only verified answers are learned.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    strategy: The expert: sample, vote(n=16), retry(turns=3), best_of_n(n=8) ...
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks a step.
    siblings: Answers of the expert to each task.
    keep: At most so many distinct verified answers a task are learned.
    replay: Share of earlier lessons mixed into each update.
    """
    source = tasks_of(tasks)
    learner = Gradient(
        nll(token_mean),
        lr=lr,
        betas=(0.9, 0.99),
        schedule=constant(10),
        updates=2,
        micro_tokens=4096,  # half the default: memory stays below 3 GB (runs/make_demo.log)
        replay_share=replay,
        seed=seed,
    )
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(strategy_of(strategy), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=imitate_best(keep=keep, even=True),
        learners=Learners({"policy": learner}),
        last=steps,
        batch=batch,
    )
