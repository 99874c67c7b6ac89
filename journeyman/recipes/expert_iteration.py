"""Expert iteration: an expert answers, the verifier filters, the model imitates what is left."""

from __future__ import annotations

from journeyman.credit import equation_list, imitate_best
from journeyman.curricula import uniform
from journeyman.learners import Gradient, restart
from journeyman.objectives import nll, sequence_mean, token_mean
from journeyman.protocols import Feedback, Strategy, Tasks, Trainable
from journeyman.recipes.parts import feedback_of, policies_of, strategy_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import rationalize
from journeyman.types import Sampling


def expert_iteration(
    policy: str | Trainable = "base",
    tasks: str | Tasks = "gym:letter_counting@0-1",
    strategy: str | Strategy = "sample",
    feedback: str | Feedback = "auto",
    steps: int = 30,
    batch: int = 48,
    siblings: int = 8,
    lr: float = 3e-4,
    keep: int = 4,
    replay: float = 0.5,
    max_tokens: int = 128,
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
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(strategy_of(strategy), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=imitate_best(keep=keep, even=True),
        learners=Learners({"policy": Gradient(nll(token_mean), lr=lr, betas=(0.9, 0.98), updates=2, replay_share=replay, seed=seed)}),
        last=steps,
        batch=batch,
    )


def rft(
    policy: str | Trainable = "base",
    tasks: str | Tasks = "gym:letter_counting@0-1",
    feedback: str | Feedback = "auto",
    batch: int = 1000,
    siblings: int = 32,
    keep: int = 32,
    epochs: int = 3,
    updates: int = 50,
    lr: float = 3e-4,
    max_tokens: int = 256,
    temperature: float = 0.7,
    seed: int = 0,
) -> Run:
    """RFT: one round of sampling many answers, keeping the right ones that differ in their equations, and fine-tuning.

    Yuan et al. 2023, arXiv 2308.01825. Differs from the paper in that no human solutions are mixed in (the tasks need not
    have any) and in its sizes (100 samples there).

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    batch: Tasks in the one round.
    siblings: Attempts at each task.
    keep: At most so many distinct right answers a task.
    epochs: Passes over what was kept.
    updates: Optimiser steps an epoch.
    """
    source = tasks_of(tasks)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(strategy_of("sample"), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=imitate_best(keep=keep, distinct=equation_list),
        learners=Learners({"policy": Gradient(nll(token_mean), lr=lr, epochs=epochs, updates=updates, seed=seed)}),
        last=1,
        batch=batch,
    )


def star(
    policy: str | Trainable = "base",
    tasks: str | Tasks = "gym:letter_counting@0-1",
    feedback: str | Feedback = "auto",
    steps: int = 6,
    batch: int = 500,
    updates: int = 40,
    growth: float = 1.2,
    lr: float = 3e-4,
    max_tokens: int = 256,
    temperature: float = 0.7,
    seed: int = 0,
) -> Run:
    """STaR: keep rationales that reach the right answer, give the answer as a hint for the rest, and train anew from the
    original model each round, a little longer each time.

    Zelikman et al. 2022, arXiv 2203.14465. Differs from the paper in sampling (greedy or few-shot there) and in the optimiser
    steps, which here are spread over the round's rows.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    steps: Rounds.
    batch: Tasks a round.
    updates: Optimiser steps in round 1.
    growth: Factor by which they grow each round.
    """
    source = tasks_of(tasks)
    inner = Gradient(nll(sequence_mean), lr=lr, updates=updates, seed=seed)
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(rationalize(), feedback_of(feedback), sampling=Sampling(max_tokens, temperature), seed=seed),
        curriculum=uniform(source, siblings=1, seed=seed),
        credit=imitate_best(keep=1),
        learners=Learners({"policy": restart(inner, growth=growth)}),
        last=steps,
        batch=batch,
    )
