"""Each combination of credit and objective learns a game of two answers from its own samples."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.credit import group_mean, group_zscore, imitate_best, leave_one_out
from journeyman.learners import Gradient
from journeyman.objectives import (
    cap,
    entropy_bonus,
    fixed_length,
    kl_penalty,
    nll,
    on_policy,
    over_behaviour,
    over_old,
    plus,
    ppo_clip,
    probability,
    sequence_mean,
    sequence_ratio,
    sequence_sum,
    surrogate,
    token_mean,
    truncated,
)  # fmt: skip
from journeyman.types import Answer, Assignment, Attempt, Group, Judgement, Sampling, Task, Trace, user
from tests.learners.tiny import Tiny

PROMPT, RIGHT, WRONG = 0, 1, 2


def chance(policy):
    """Probabilities of each answer after the prompt."""
    with torch.no_grad():
        return policy.head(policy.table.weight[PROMPT]).softmax(-1)


def play(policy, step, rng, siblings=8):
    p = chance(policy)
    attempts, judgements = [], []
    for i in range(siblings):
        token = int(rng.choice(len(p), p=(p / p.sum()).numpy()))
        id = f"{step}/{i}"
        trace = Trace(f"{id}:0", tokens=(PROMPT, token), sampled=(False, True), logp=(0.0, p[token].log().item()),
                      version=(-1, policy.version), start=0, text=str(token), sampling=Sampling())  # fmt: skip
        attempts.append(Attempt(id, "t", Answer(str(token), trace.id), (trace,)))
        judgements.append(Judgement(id, float(token == RIGHT)))
    return Group(str(step), Assignment(Task("t", user("?"), "1"), siblings), tuple(attempts), tuple(judgements))


def render(messages, policy="policy"):
    return (PROMPT, int(messages[-1]["content"])), (False, True)


COMBINATIONS = {
    "reinforce": (group_mean(), surrogate()),
    "grpo": (group_zscore(), plus(surrogate(ppo_clip(), over_old, sequence_mean), kl_penalty(0.001, reduce=sequence_mean))),
    "dr_grpo": (group_mean(), surrogate(ppo_clip(), over_behaviour, fixed_length(1))),
    "rloo": (leave_one_out(), surrogate(ratio=on_policy, reduce=sequence_sum)),
    "dapo": (group_zscore(), surrogate(ppo_clip(0.2, 0.28), over_behaviour, token_mean)),
    "gspo": (group_zscore(), surrogate(ppo_clip(3e-4, 4e-4), sequence_ratio(), sequence_mean)),
    "cispo": (group_zscore(), surrogate(cap(1.28), over_old)),
    "truncated": (group_zscore(), surrogate(ppo_clip(), over_old, correction=truncated())),
    "entropy": (group_mean(), plus(surrogate(), entropy_bonus(0.001))),
    "expert iteration": (imitate_best(keep=8), nll()),
    "dft": (imitate_best(keep=8), surrogate(ratio=probability)),
}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_learns_the_right_answer(name):
    credit, objective = COMBINATIONS[name]
    policy, rng = Tiny(seed=1, vocab=3), np.random.default_rng(0)
    learner = Gradient(objective, lr=0.05, epochs=2)
    start = chance(policy)[RIGHT].item()
    for step in range(60):
        learner.update(policy, credit(play(policy, step, rng), render))
        if chance(policy)[RIGHT] > 0.95:
            break
    assert start < 0.7
    assert chance(policy)[RIGHT].item() > 0.95


def test_a_shuffled_reward_teaches_nothing():
    """The control: the same run with scores that do not depend on the answer stays far from certain of the right one."""
    policy, rng = Tiny(seed=1, vocab=3), np.random.default_rng(0)
    learner = Gradient(surrogate(), lr=0.05, epochs=2)
    start = chance(policy)[RIGHT].item()
    for step in range(20):
        group = play(policy, step, rng)
        scores = rng.permutation([j.score for j in group.judgements])
        shuffled = tuple(replace(j, score=float(s)) for j, s in zip(group.judgements, scores, strict=True))
        learner.update(policy, group_mean()(replace(group, judgements=shuffled), render))
    assert chance(policy)[RIGHT].item() < max(0.9, start)


def test_a_group_that_is_all_right_leaves_the_weights():
    policy, rng = Tiny(seed=1, vocab=3), np.random.default_rng(0)
    group = play(policy, 0, rng)
    solved = replace(group, judgements=tuple(replace(j, score=1.0) for j in group.judgements))
    lessons = group_zscore()(solved, render)
    assert len(lessons) == 8
    before = policy.head.bias.detach().clone()
    assert Gradient(surrogate(), lr=1.0).update(policy, lessons)["optimiser_steps"] == 0
    assert torch.equal(policy.head.bias, before)
