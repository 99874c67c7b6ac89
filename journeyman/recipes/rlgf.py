"""RLGF: a guide begins the policy's answers, or ends them."""

from __future__ import annotations

from journeyman import strategies
from journeyman.credit import outcome_of
from journeyman.curricula import uniform
from journeyman.learners import Gradient, actor_critic
from journeyman.literal import parse
from journeyman.objectives import over_behaviour, plus, ppo_clip, surrogate, token_mean, value_loss
from journeyman.policies import load_policy
from journeyman.protocols import Feedback, Schedule, Tasks, Trainable
from journeyman.recipes.parts import FRONTIER, feedback_of, policies_of, tasks_of
from journeyman.run import Learners, Run
from journeyman.runner import Runner
from journeyman.strategies import guided
from journeyman.types import Sampling, user

PROBE = user("What is 12 + 3,456?\n Naïve answers: one, 'two'.")  # what tokenizers differ in


def rlgf(
    policy: str | Trainable = "base",
    tasks: str | Tasks = FRONTIER,
    feedback: str | Feedback = "auto",
    guide: str | Trainable = "base",
    guide_first: str | Schedule = "lots(0.8)",
    mixing: float = 0.8,
    steps: int = 24,
    batch: int = 32,
    siblings: int = 8,
    lr: float = 2e-4,
    max_tokens: int = 192,
    seed: int = 0,
) -> Run:
    """RLGF: answers in two parts, one by a guide that does not learn; PPO learns the policy's part from how the whole came out.

    Four variants, by who begins: ``lots(1)`` the guide (PPO++), ``lots(0)`` the policy (AggreVaTeD), ``lots(0.8)`` one of them at
    each step (LOLS), ``after(20)`` the policy for 20 steps, then the guide (D2LOLS).

    [S170] Chang et al. 2023, arXiv 2306.11816. Differs from the paper in its sizes and learning rate, in one value head for
    both parts (answers that the guide ends have a head of their own there), in having no KL term in the reward, and as ``ppo``
    says but for lam 0.95. The guide's tokenizer must be the policy's.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS or a .jsonl file.
    feedback: A verifier such as exact() or math_equal(); auto fits the tasks.
    guide: Model folder, or base, of the policy that helps and does not learn; better than the policy, or it is of little use.
    guide_first: Who begins: lots(1), lots(0), lots(0.8) or after(20).
    mixing: Probability that an answer has two parts.
    batch: Tasks a step.
    siblings: Attempts at each task; they are not compared, so 1 will do.
    """
    source, policies = tasks_of(tasks), policies_of(policy, seed)
    policies["guide"] = load_policy(guide, name="guide", seed=seed) if isinstance(guide, str) else guide
    learner, helper = policies["policy"], policies["guide"]
    if helper.name != "guide":
        raise ValueError(f"the guide is a policy named {helper.name!r}, expected 'guide', or its tokens would be the policy's")
    if learner.render(PROBE) != helper.render(PROBE):
        raise ValueError(
            "the guide has other tokens or another chat template than the policy, expected the same; write such a guide"
        )
    order = parse(guide_first, strategies) if isinstance(guide_first, str) else guide_first
    expert = guided(order, mixing)
    objective = plus(surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=token_mean), value_loss(0.1))
    return Run(
        policies=policies,
        runner=Runner(expert, feedback_of(feedback), sampling=Sampling(max_tokens), seed=seed),
        curriculum=uniform(source, siblings=siblings, seed=seed),
        credit=outcome_of(),
        learners=Learners({"policy": actor_critic(Gradient(objective, lr=lr, epochs=4, seed=seed), gamma=1.0, lam=0.95)}),
        last=steps,
        batch=batch,
    )
