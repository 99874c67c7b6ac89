"""Fine-Grained RLHF: several critics, each rewarding its own kind of segment where it ends."""

from __future__ import annotations

from journeyman.credit import span_returns
from journeyman.curricula import uniform
from journeyman.feedback.critics import new_steps, weighed
from journeyman.feedback.critique import Critic
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, ppo_clip, surrogate, token_mean
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.recipes.critics import critic_of, criticised
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.types import Sampling


def fine_grained(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    critic: str | Critic = "solver",
    steps: int = 24,
    batch: int = 32,
    lr: float = 2e-4,
    relevance: float = 0.3,
    factuality: float = 0.5,
    completeness: float = 0.3,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """Fine-Grained RLHF: at the end of each step +- factuality as the critic finds it right or wrong and +- relevance as it is new
    or repeats an earlier one, at the end of the answer +- completeness as the verifier says; what follows a token counts with a
    decay of 0.95; PPO's clip, mean over tokens; 8 attempts at each task.

    [S136] Wu et al. 2023, arXiv 2306.01693. Differs from the paper in its sizes and learning rate, in its three judges (trained
    reward models of questions and long answers there), in having no KL term (0.3 there), and as ``span_returns`` says.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    critic: solver (the exact step checkers of generated tasks), or a model folder (or base) that is asked to verify.
    batch: Tasks a step.
    relevance: Weight of a step being new, from 0 to 1.
    factuality: Weight of a step being right, from 0 to 1.
    completeness: Weight of the answer being right.
    """
    source, policies = tasks_of(tasks), policies_of(policy, seed)
    judges = weighed([(critic_of(critic, source), factuality), (new_steps(), relevance)])
    loss = surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=token_mean)
    return Run(
        policies=policies,
        runner=Runner(sample(), criticised(feedback_of(feedback), judges, policies), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=8, seed=seed),
        credit=span_returns("end", completeness),
        learners=Learners({"policy": Gradient(loss, lr=lr, seed=seed)}),
        last=steps,
        batch=batch,
    )
