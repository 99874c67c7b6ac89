"""Siblings compared: pairs, labels, wins, and steps of a search tree."""

import random
from dataclasses import replace

import numpy as np
import pytest

from journeyman.credit import labelled, pairs, step_pairs, win_rate
from journeyman.credit.win_rate import wins
from journeyman.types import Answer, Assignment, Attempt, Group, Sampling, Task, Trace, user
from tests.credit.groups import group_of, render


def joined(lessons):
    """(preferred, rejected) attempts of each pair, checking that a pair is one of each."""
    found = []
    for a, b in zip(lessons[0::2], lessons[1::2], strict=True):
        assert (a.pair, a.group, a.weight) == (b.pair, b.group, b.weight)
        assert {v for v, t in zip(a.advantage, a.train, strict=True) if t} == {1.0}
        assert {v for v, t in zip(b.advantage, b.train, strict=True) if t} == {-1.0}
        found.append((a.attempt, b.attempt))
    return found


def test_best_against_worst_drops_ties():
    """[S188]: argmax against argmin; rewards (1, 1, 1, 1) give no pair."""
    assert joined(pairs()(group_of([0.2, 0.9, 0.1, 0.5]), render)) == [("g/1", "g/2")]
    assert pairs()(group_of([1.0] * 4), render) == []
    assert pairs()(group_of([1.0, 1.0, None]), render) == []


def test_right_against_wrong_uses_every_attempt_before_one_again():
    found = joined(pairs(keep=4)(group_of([1.0, 1.0, 0.0, 0.0, 0.0]), render))
    assert found[:2] == [("g/0", "g/2"), ("g/1", "g/3")]
    assert len(set(found)) == 4
    assert {a for pair in found for a in pair} == {f"g/{i}" for i in range(5)}


def test_all_pairs_widest_first_above_the_margin():
    scores = [0.0, 0.3, 1.0]
    assert joined(pairs(keep=None)(group_of(scores), render)) == [("g/2", "g/0"), ("g/2", "g/1"), ("g/1", "g/0")]
    assert joined(pairs(keep=None, margin=0.5)(group_of(scores), render)) == [("g/2", "g/0"), ("g/2", "g/1")]


def test_the_lessons_are_what_was_sampled():
    best, worst = pairs()(group_of([1.0, 0.0], ["six", "seven"]), render)
    assert bytes(t for t, m in zip(best.tokens, best.train, strict=True) if m) == b"six"
    assert bytes(t for t, m in zip(worst.tokens, worst.train, strict=True) if m) == b"seven"
    assert (best.term, best.temperature) == ("preference", 1.0)
    assert best.behaviour_logp == (0.0, 0.0, 0.0, -0.1, -0.2, pytest.approx(-0.3))


def test_equal_answers_are_no_pair():
    assert pairs()(group_of([1.0, 0.0], ["six", "six"]), render) == []


@pytest.mark.parametrize("credit", [pairs(keep=3), pairs(keep=None), labelled(), win_rate()])
def test_the_order_of_siblings_changes_nothing(credit):
    group = group_of([1.0, 0.0, 1.0, 0.5, 0.0, None])
    whole = credit(group, render)
    for seed in range(3):
        order = random.Random(seed).sample(range(6), 6)
        turned = replace(group, attempts=tuple(group.attempts[i] for i in order), judgements=group.judgements[::-1])
        assert sorted(credit(turned, render), key=repr) == sorted(whole, key=repr)


def test_labels():
    lessons = labelled(threshold=0.5)(group_of([1.0, 0.0, 0.5, None]), render)
    assert [(x.attempt, x.advantage[-1], x.pair) for x in lessons] == [("g/0", 1, "g"), ("g/1", -1, "g"), ("g/2", 1, "g")]
    assert labelled()(group_of([None, None]), render) == []


def test_wins_by_hand():
    """Beating both others is 1/2, losing to both -1/2; a draw is 0; only the order counts; they add to 0."""
    assert wins(np.array([3.0, 2.0, 1.0])).tolist() == [0.5, 0.0, -0.5]
    assert wins(np.array([1.0, 1.0, 0.0])).tolist() == [0.25, 0.25, -0.5]
    assert wins(np.array([9.0, 0.5, 0.5])).tolist() == [0.5, -0.25, -0.25]
    assert [x.advantage[-1] for x in win_rate()(group_of([1.0, 0.0]), render)] == [0.5, -0.5]
    assert [x.advantage[-1] for x in win_rate()(group_of([0.3] * 3), render)] == [0.0] * 3


def tree(*marks, start=2, stem=(1, 2), parent=None, texts=None):
    """An attempt whose traces continue one stem, with these (value, visits)."""
    traces = []
    for i, (q, n) in enumerate(marks):
        own = texts[i] if texts else (5, 10 + i, 20)
        traces.append(
            Trace(f"a:{start}.{i}", tokens=(*stem, *own), sampled=(False,) * len(stem) + (True,) * len(own), start=start,
                  logp=(0.0,) * len(stem) + (-0.5,) * len(own), marks={"value": q, "visits": n}, parent=parent,
                  sampling=Sampling(temperature=0.7))
        )  # fmt: skip
    return traces


def grown(*traces):
    attempt = Attempt("a", "t", Answer("x", traces[0].id), traces)
    return Group("g", Assignment(Task("t", user("?"))), (attempt,))


def test_mcts_dpo_card():
    """[S191]: N = 30 against 10 is confidence .75, smoothing .25; highest Q against lowest, from the first token that differs."""
    best, worst = step_pairs()(grown(*tree((0.9, 30), (0.5, 7), (0.1, 10))), render)
    assert (best.tokens, worst.tokens) == ((1, 2, 5, 10, 20), (1, 2, 5, 12, 20))
    assert best.train == worst.train == (False, False, False, True, True)
    assert best.streams["smoothing"] == pytest.approx((0, 0, 0, 0.25, 0.25))
    assert (best.advantage[-1], worst.advantage[-1], best.temperature) == (1.0, -1.0, 0.7)
    assert best.pair == worst.pair


def test_smoothing_ends_at_one_half_and_unvisited_steps_count_as_one():
    for (n_best, n_worst), expected in (((10, 30), 0.5), ((0, 0), 0.0), ((0, 1), 0.5)):
        best, _ = step_pairs()(grown(*tree((0.9, n_best), (0.1, n_worst))), render)
        assert best.streams["smoothing"][-1] == pytest.approx(expected)


def test_equal_values_single_children_and_prefixes_make_no_pair():
    assert step_pairs()(grown(*tree((0.5, 3), (0.5, 9))), render) == []
    assert step_pairs()(grown(*tree((0.5, 3))), render) == []
    assert step_pairs()(grown(*tree((0.9, 3), (0.1, 3), texts=[(5, 6), (5, 6, 7)])), render) == []
    assert step_pairs(margin=0.9)(grown(*tree((0.9, 3), (0.1, 3))), render) == []


def test_siblings_are_those_of_one_parent_and_the_widest_come_first():
    first, second = tree((0.9, 3), (0.1, 3)), tree((0.8, 2), (0.7, 2), start=3, stem=(1, 2, 5), parent="a:2.0")
    whole = step_pairs()(grown(*first, *second), render)
    assert joined_ids(whole) == ["a: a:2.0 > a:2.1", "a: a:3.0 > a:3.1"]
    assert joined_ids(step_pairs(keep=1)(grown(*second, *first), render)) == ["a: a:2.0 > a:2.1"]


def joined_ids(lessons):
    return [x.pair for x in lessons[0::2]]


def test_settings_are_checked():
    for make in (lambda: pairs(keep=0), lambda: step_pairs(keep=0)):
        with pytest.raises(ValueError, match="expected at least 1"):
            make()
