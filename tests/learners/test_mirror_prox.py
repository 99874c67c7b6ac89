from dataclasses import replace

import torch

from journeyman.learners import Gradient, mirror_prox
from journeyman.objectives import nash, nll
from tests.learners.tiny import Tiny, random_lessons


def weights(policy):
    return {k: v.clone() for k, v in policy.weights().items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def test_the_second_step_starts_where_the_first_did():
    """Plain descent of one step: after a pair of updates the weights are the first ones moved by the second's gradient alone."""
    a, b = random_lessons(4, seed=1), random_lessons(4, seed=2)
    policy, learner = Tiny(), mirror_prox(Gradient(nll(), lr=0.1))
    start = weights(policy)
    assert learner.update(policy, a)["half"] == 1
    assert not same(weights(policy), start)
    learner.inner.restart(policy)
    assert learner.update(policy, b)["half"] == 0
    other = Tiny()
    Gradient(nll(), lr=0.1).update(other, b)
    assert same(weights(policy), weights(other))


def test_old_logp_is_that_of_the_remembered_weights(monkeypatch):
    policy, seen = Tiny(), []
    learner = mirror_prox(Gradient(nash(), lr=0.05))
    plain = learner.inner._with_logps
    monkeypatch.setattr(learner.inner, "_with_logps", lambda *x: seen.append(plain(*x)) or seen[-1])
    for seed in (1, 2):
        learner.update(policy, random_lessons(4, seed=seed))
    for lessons in seen:
        learner = Gradient(nash())
        learner.prepare(Tiny())
        bare = [replace(x, old_logp=None, streams={}) for x in lessons]
        assert [x.old_logp for x in lessons] == [x.old_logp for x in learner._with_logps(Tiny(), torch.device("cpu"), bare)]


def test_a_checkpoint_between_the_two_continues_exactly():
    a, b = random_lessons(4, seed=1), random_lessons(4, seed=2)
    whole, learner = Tiny(), mirror_prox(Gradient(nll(), lr=0.1))
    learner.update(whole, a)
    saved, tensors, at = learner.state_dict(), {k: v.clone() for k, v in learner.tensors().items()}, weights(whole)
    learner.update(whole, b)
    again, second = Tiny(), mirror_prox(Gradient(nll(), lr=0.1))
    second.prepare(again)
    again.load_weights(at, 1)
    second.load_state_dict(saved)
    second.load_tensors(tensors)
    second.update(again, b)
    assert same(weights(again), weights(whole))
