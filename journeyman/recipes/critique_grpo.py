"""Critique-GRPO: refinements of wrong answers join the group."""

from __future__ import annotations

from journeyman.credit import with_refinement
from journeyman.curricula import uniform
from journeyman.feedback.critique import Critic
from journeyman.learners import Gradient
from journeyman.objectives import demonstrated, entropy_bonus, fixed_length, no_clip, plus, surrogate
from journeyman.prompts import ASK_AGAIN
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.critics import refining
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.types import Sampling

ENTROPY = 0.001  # weight of the entropy bonus


def critique_grpo(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    critique: str | Critic = "indicative",
    steps: int = 24,
    batch: int = 32,
    siblings: int = 7,
    lr: float = 2e-4,
    again: str = ASK_AGAIN[0],
    gamma: float = 0.1,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """Critique-GRPO: a wrong answer hears a critique and is tried again; the best second try of a group is one more sibling,
    learned under the plain question, its rare tokens with the larger steps.

    A wrong answer always hears ``again``; under it, by ``critique``: nothing ("indicative"); the gold answer ("truth"; with
    "truth+solver" right refinements with a wrong step are left out); which step is the first wrong one ("solver", on generated
    tasks); what the policy itself ("self") or another model writes of it.

    [S063] Zhang et al. 2025, arXiv 2506.03106. First answers: ratio * A without a clip; refinement: gamma p / (p + gamma)^2 * A;
    A = R - mean over both; sum over tokens / length limit; an entropy bonus of weight 0.001. Differs from the paper in its sizes
    and learning rate, as ``critiqued`` and ``with_refinement`` say, in that a model that writes critiques does not see the right
    solution (it does there), and in that the default critique is the plain one: the released run shows the true answer, which a
    refinement can copy without working it out; copies then are learned as solutions. Critiques in words are for models that read
    instructions: the packaged one was taught the plain message only, and of 110 wrong answers at the default tasks it corrected 5
    on that, 3 with the first wrong step named, and none with the true answer or its own critique.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    critique: indicative, truth, truth+solver, solver, self, or a model folder (or base) that writes it.
    batch: Tasks a step.
    siblings: Attempts at each task.
    again: The words by which a wrong answer is told so; the critique comes under them.
    gamma: Probability at which a refinement's token has the largest step.
    """
    source = tasks_of(tasks)
    loss = surrogate(no_clip, demonstrated(gamma), fixed_length(max_tokens))
    objective = plus(loss, entropy_bonus(ENTROPY, fixed_length(max_tokens)))
    return Run(
        policies=policies_of(policy, seed),
        runner=Runner(refining(critique, source, again), feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=with_refinement(),
        learners=Learners({"policy": Gradient(objective, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
