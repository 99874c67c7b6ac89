import json
from collections import Counter

import pytest

from journeyman.curricula import learnable, levels, uniform
from journeyman.types import Assignment, Attempt, Group, Judgement, Task, user
from tests.credit.groups import group_of


def tasks(n, level=lambda i: 0):
    return [Task(str(i), user(str(i)), level=level(i)) for i in range(n)]


def names(assignments):
    return [a.task.id for a in assignments]


def solved(task, right, of=4):
    attempts = tuple(Attempt(f"{task.id}/{i}", task.id, None) for i in range(of))
    return Group(task.id, Assignment(task, of), attempts, tuple(Judgement(a.id, float(i < right)) for i, a in enumerate(attempts)))


def test_uniform_hands_out_each_task_once_an_epoch_in_a_new_order():
    first = names(uniform(tasks(10)).pick(10))
    both = names(uniform(tasks(10)).pick(20))
    assert both[:10] == first
    assert sorted(first) == sorted(both[10:]) == sorted(map(str, range(10)))
    assert both[10:] != first
    assert names(uniform(tasks(10), seed=1).pick(10)) != first


def test_uniform_does_not_depend_on_how_much_is_picked_at_once():
    a, b = uniform(tasks(7)), uniform(tasks(7))
    assert names(a.pick(15)) == [x for n in (1, 6, 5, 3) for x in names(b.pick(n))]


def test_uniform_counts_siblings():
    assert uniform(tasks(2), siblings=8).gives == {"siblings"}
    assert uniform(tasks(2), siblings=1).gives == set()
    assert {a.siblings for a in uniform(tasks(2), siblings=3).pick(5)} == {3}


def test_levels_start_low_and_go_up_on_success():
    c = levels(tasks(30, lambda i: 2 + i // 10), window=4, up=0.75, easier=0.25)
    assert {a.task.level for a in c.pick(20)} == {2}
    easy = c.pick(4)
    c.observe([solved(a.task, 2) for a in easy])
    assert c.level == 2, "half right is not enough"
    c.observe([solved(a.task, 4) for a in easy[:2]])
    assert c.level == 3, "the last four groups: 0.5, 0.5, 1, 1"
    found = Counter(a.task.level for a in c.pick(400))
    assert set(found) == {2, 3}
    assert found[2] / 400 == pytest.approx(0.25, abs=0.06)


def test_levels_forget_what_was_below_and_stop_at_the_top():
    c = levels(tasks(4, lambda i: i // 2), window=2, up=1.0, easier=0.0)
    low, high = tasks(4, lambda i: i // 2)[:2], tasks(4, lambda i: i // 2)[2:]
    c.observe([solved(t, 4) for t in low])
    assert c.level == 1
    c.observe([solved(t, 4) for t in low])
    assert c.state_dict()["recent"] == [], "easier groups do not count for the current level"
    c.observe([solved(t, 4) for t in high])
    assert c.level == 1


def test_levels_do_not_count_what_was_not_checked():
    c = levels(tasks(4, lambda i: i // 2), window=1, up=0.5)
    t = tasks(4)[0]
    unjudged = Group("x", Assignment(t, 1), (Attempt("x/0", t.id, None),), (Judgement("x/0", None, "timed_out"),))
    c.observe([unjudged])
    assert c.level == 0


@pytest.mark.parametrize(
    ("scores", "admitted"),
    [
        ([1, 0, 0, 0], True),
        ([1, 1, 1, 1], False),
        ([0, 0, 0, 0], False),
        ([0.5, 0.5], False),
        ([None, None], False),
        ([1, None], False),
    ],
)
def test_learnable_admits_what_has_signal(scores, admitted):
    assert learnable(uniform(tasks(1))).admit(group_of(scores)) is admitted


def test_learnable_reads_accuracy_and_not_the_shaped_score():
    shaped = group_of([1.0, 0.9, 1.0, 0.8], components=[{"accuracy": 1.0}] * 4)
    assert not learnable(uniform(tasks(1))).admit(shaped)
    some = group_of([0.5, 0.5], components=[{"accuracy": 1.0}, {"accuracy": 0.0}])
    assert learnable(uniform(tasks(1))).admit(some)


def test_learnable_bounds_are_strict_and_inner_is_asked():
    group = group_of([1.0, 0.0, 0.0, 0.0])
    assert not learnable(uniform(tasks(1)), low=0.25).admit(group)
    assert learnable(uniform(tasks(1)), low=0.2, high=0.3).admit(group)
    nested = learnable(learnable(uniform(tasks(1)), high=0.2))
    assert not nested.admit(group)


def test_learnable_keeps_the_accuracy_before_its_filter():
    c = learnable(uniform(tasks(1)))
    assert c.accuracy is None
    c.observe([group_of([1.0, 1.0]), group_of([1.0, 0.0]), group_of([None, None])])
    assert c.accuracy == 0.75


def test_learnable_shows_inner_every_group():
    inner = levels(tasks(4, lambda i: i // 2), window=1, up=1.0)
    learnable(inner).observe([solved(tasks(4)[0], 4)])
    assert inner.level == 1


def test_settings_are_checked():
    for make in (lambda: uniform([]), lambda: uniform(tasks(1), siblings=0), lambda: levels(tasks(1), up=0.0),
                 lambda: levels(tasks(1), window=0), lambda: learnable(uniform(tasks(1)), low=1.0)):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            make()
    with pytest.raises(ValueError, match="there are 3 tasks"):
        uniform(tasks(3)).load_state_dict({"place": [0, 9]})
    with pytest.raises(ValueError, match="saved with 2 levels"):
        levels(tasks(3)).load_state_dict(levels(tasks(2, lambda i: i)).state_dict())


def test_state_is_small():
    c = uniform(tasks(1000))
    c.pick(777)
    assert len(json.dumps(c.state_dict())) < 40
