import dataclasses

import numpy as np
import pytest

from journeyman.feedback import each, exact, from_file, shuffled
from journeyman.protocols import words
from journeyman.types import Judgement, Span
from tests.feedback.helpers import group, judge, scores, task

# ---------------------------------------------------------------------------------------- each


@pytest.mark.parametrize(
    ("returned", "score"),
    [(1, 1.0), (0.25, 0.25), (True, 1.0), (False, 0.0), (np.float32(0.5), 0.5), (np.bool_(True), 1.0), (-3, -3.0)],
)
def test_numbers_and_bools_are_scores(returned, score):
    assert scores(each(lambda task, answer: returned), task("x"), ["a"]) == [score]


@pytest.mark.parametrize("returned", [float("nan"), float("inf"), None, "1.0", [1.0], 1j])
def test_what_is_no_number_fails_and_is_named(returned):
    [judgement] = judge(each(lambda task, answer: returned), group(task("x"), ["a"]))
    assert (judgement.score, judgement.status) == (None, "failed")
    assert repr(returned) in judgement.evidence


def test_an_exception_costs_its_own_attempt_only():
    [bad, good] = judge(each(lambda task, answer: 1 / len(answer)), group(task("x"), ["", "a"]))
    assert (bad.status, bad.score) == ("failed", None)
    assert "ZeroDivisionError: division by zero" in bad.evidence
    assert (good.status, good.score) == ("checked", 1.0)


@pytest.mark.parametrize("feedback", [each(lambda task, answer: 1.0), exact()])
def test_an_attempt_without_an_answer_is_failed_never_zero(feedback):
    g = group(task("x"), [None, "x"])
    broken = dataclasses.replace(g.attempts[1], error="engine gone")
    first, second = judge(feedback, dataclasses.replace(g, attempts=(g.attempts[0], broken)))
    assert (first.status, first.score, second.status) == ("failed", None, "failed")
    assert "engine gone" in second.evidence


# ---------------------------------------------------------------------------------------- exact


@pytest.mark.parametrize(
    ("gold", "extract", "text", "score"),
    [
        ("1/2", "boxed", r"so \boxed{0.50}", 1),
        ("18", "number", "She makes $18.00 a day", 1),
        (1000, "number", "1,000", 1),
        (0.5, "text", "1/2", 1),
        ("Evelyn", "answer", "<answer> evelyn.</answer>", 1),
        ("18", "number", "17", 0),
        ("18", "number", "180", 0),
        ("1/3", "text", "0.333333", 0),
        ("4", "boxed", r"\boxed{4} or \boxed{5}", 0),
        ("5", "boxed", r"\boxed{4} or \boxed{5}", 0),
        ("4", "boxed", r"\boxed{4}, that is \boxed{4.0}", 1),
        ("4", "boxed", "4", 0),
        ("4", "text", "", 0),
        ("4", "text", "4 or 5", 0),
        ("4", "text", "9" * 100_000, 0),
    ],
)
def test_exact(gold, extract, text, score):
    assert scores(exact(), task(gold, extract), [text]) == [score]


@pytest.mark.parametrize(
    ("gold", "hint"), [(None, "need a text or a number"), ({"dataset": "gcd"}, "judge it with gym"), ("", "need a text")]
)
def test_exact_cannot_judge_other_golds(gold, hint):
    [judgement] = judge(exact(), group(task(gold), ["x"]))
    assert judgement.status == "failed"
    assert hint in judgement.evidence


# ---------------------------------------------------------------------------------------- from_file

REWARD = """
import os, time
def good(task, answer): return float(answer == task.answer)
def slow(task, answer):
    if answer == "slow": time.sleep(100)
    return 1.0
def dies(task, answer): os._exit(1)
def none(task, answer): return None
number = 3
"""


@pytest.fixture
def reward(tmp_path):
    path = tmp_path / "my_reward.py"
    path.write_text(REWARD)
    return path


@pytest.mark.parametrize("deadline", [10.0, None])
def test_a_reward_file_is_loaded(reward, deadline):
    assert scores(from_file(f"{reward}:good", deadline), task("x"), ["x", "y"]) == [1.0, 0.0]
    [judgement] = judge(from_file(f"{reward}:none", deadline), group(task("x"), ["x"]))
    assert "returned None" in judgement.evidence


def test_a_reward_that_hangs_or_dies_costs_its_own_attempt_only(reward):
    slow, fine, absent = judge(from_file(f"{reward}:slow", 0.5), group(task("x"), ["slow", "fine", None]))
    assert (slow.status, fine.score, absent.status) == ("timed_out", 1.0, "failed")
    [died] = judge(from_file(f"{reward}:dies"), group(task("x"), ["x"]))
    assert (died.status, died.score) == ("failed", None)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("my_reward.py", "expected a file and a function"),
        ("my_reward.txt:good", "expected a file and a function"),
        ("nowhere.py:good", "there is no file nowhere.py"),
        ("{}:bad", "bad does not exist in .*; it has good, slow, dies, none"),
        ("{}:number", "number is not a function"),
    ],
)
def test_a_wrong_place_is_refused_at_once(reward, place, message):
    with pytest.raises(ValueError, match=message):
        from_file(place.format(reward))


def test_a_broken_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "broken.py").write_text("def f(:\n")
    with pytest.raises(ValueError, match=r"broken.py cannot be run: SyntaxError"):
        from_file(f"{tmp_path}/broken.py:f")


# ---------------------------------------------------------------------------------------- shuffled


def number(task, answer):
    return float(answer)


def test_shuffling_keeps_each_groups_scores_and_breaks_their_places():
    answers = ["0", "1", "2", "3"]
    same = 0
    for i in range(400):
        judged = judge(shuffled(each(number), seed=1), group(task("x"), answers, id=f"g{i}"))
        assert sorted(j.score for j in judged if j.score is not None) == [0, 1, 2, 3]
        assert [j.components["unshuffled"] for j in judged] == [0, 1, 2, 3]
        same += judged[3].score == 3
    assert 60 < same < 140  # 100 expected of 400, standard deviation 8.7


def test_shuffling_is_fixed_by_its_seed_and_the_group():
    g = group(task("x"), ["0", "1", "2", "3", "4", "5"])
    assert judge(shuffled(each(number)), g) == judge(shuffled(each(number)), g)
    assert judge(shuffled(each(number), seed=1), g) != judge(shuffled(each(number), seed=2), g)


def test_shuffling_keeps_statuses():
    judged = judge(shuffled(each(number)), group(task("x"), ["0", "word", "2", None]))
    assert [j.status for j in judged] == ["checked", "failed", "checked", "failed"]
    assert [j.attempt for j in judged] == ["0", "1", "2", "3"]


def test_shuffling_lets_nothing_else_through():
    class telling:
        needs, gives = words("answer"), words("score", "spans")

        async def __call__(self, group):
            spans = (Span("s", 0, 1, 1.0),)
            return [Judgement(a.id, 1.0, evidence="right", spans=spans, critique="good") for a in group.attempts] + [
                Judgement(group.attempts[0].id, 1.0, trace="s")
            ]

    judged = judge(shuffled(telling()), group(task("x"), ["0", "1"]))
    assert len(judged) == 2
    assert all((j.spans, j.critique, j.evidence) == ((), "", "") for j in judged)


def test_shuffling_needs_siblings_and_scores():
    assert shuffled(each(number)).needs == words("answer", "siblings")

    class silent:
        needs, gives = words(), words("critique")

        async def __call__(self, group):
            return []

    with pytest.raises(ValueError, match=r"silent gives \['critique'\]"):
        shuffled(silent())
