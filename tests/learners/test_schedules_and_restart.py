from collections import Counter

import pytest
import torch

from journeyman.learners import Gradient, constant, cosine, linear, restart
from journeyman.learners.packing import plan
from journeyman.objectives import nll, surrogate
from tests.learners.tiny import Tiny, random_lessons


def test_schedules_by_hand():
    assert [constant(4)(s) for s in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert [linear(10, 2)(s) for s in (0, 1, 2, 6, 10, 99)] == [0.5, 1, 1, 0.5, 0, 0]
    assert [linear(10, 0, floor=0.1)(s) for s in (0, 5, 10)] == pytest.approx([1, 0.55, 0.1])
    assert [cosine(10, 2, floor=0.2)(s) for s in (0, 2, 6, 10, 50)] == pytest.approx([0.5, 1, 0.6, 0.2, 0.2])
    with pytest.raises(ValueError, match="expected 0 <= warmup < steps"):
        cosine(10, 10)


def test_the_learner_follows_its_schedule():
    policy = Tiny()
    learner = Gradient(nll(), lr=0.1, schedule=linear(4), updates=2)
    for i in range(3):
        learner.update(policy, random_lessons(4, seed=i))
    assert [s["lr"] for s in policy.stats] == pytest.approx([0.1, 0.075, 0.05, 0.025, 0, 0])


def test_star_card_steps_a_round():
    learner = restart(Gradient(nll(), updates=40), growth=1.2)
    assert [learner.length(k) for k in range(6)] == [40, 48, 58, 69, 83, 100]


@pytest.mark.parametrize(("steps", "passes"), [(1, 1), (4, 1), (5, 2), (11, 3)])
def test_a_number_of_steps_is_taken_exactly(steps, passes):
    """8 lessons in 4 groups: each step holds whole groups, and the passes are as even as they can be."""
    lessons = random_lessons(8)
    parts = plan(lessons, 99, 99, steps, "s")
    assert len(parts) == steps
    times = Counter(x.attempt for p in parts for x in p)
    assert set(times.values()) <= {passes, passes - 1}
    assert Gradient(nll(), epochs=7).update(Tiny(), lessons, steps=steps)["optimiser_steps"] == steps
    assert plan([], 1, 1, steps, "s") == []


def test_restart_learns_from_the_first_weights_each_round():
    lessons = random_lessons(8, seed=5)
    policy = Tiny()
    learner = restart(Gradient(nll(), lr=0.05, updates=2), growth=1.5)
    first = learner.update(policy, random_lessons(8, seed=4))
    second = learner.update(policy, lessons)
    assert (first["optimiser_steps"], second["optimiser_steps"], second["round"]) == (2, 3, 1)
    alone = Tiny()
    inner = Gradient(nll(), lr=0.05)
    inner.rounds = 1  # the order of lessons is that of round 1
    inner.update(alone, lessons, steps=3)
    for name, w in policy.weights().items():
        torch.testing.assert_close(w, alone.weights()[name], rtol=0, atol=0)
    assert policy.version > 5


def test_a_round_with_nothing_to_learn_leaves_the_policy():
    policy = Tiny()
    learner = restart(Gradient(surrogate(), lr=0.05))
    learner.update(policy, random_lessons(4))
    kept = {n: w.clone() for n, w in policy.weights().items()}
    learner.update(policy, [])
    learner.update(policy, random_lessons(4, zero=range(4)))
    assert all(torch.equal(w, kept[n]) for n, w in policy.weights().items())


def test_restart_resumes_to_the_same_first_weights():
    def fresh():
        return Tiny(), restart(Gradient(nll(), lr=0.05, updates=2), growth=1.5)

    policy, learner = fresh()
    learner.prepare(policy)
    learner.update(policy, random_lessons(8))
    state, tensors = learner.state_dict(), {k: v.clone() for k, v in learner.tensors().items()}
    weights = {n: w.clone() for n, w in policy.weights().items()}
    other, resumed = fresh()
    resumed.prepare(other)
    other.load_weights(weights, policy.version)
    resumed.load_state_dict(state)
    resumed.load_tensors(tensors)
    assert learner.update(policy, random_lessons(8, seed=1)) == resumed.update(other, random_lessons(8, seed=1))
    for name, w in policy.weights().items():
        assert torch.equal(w, other.weights()[name])
