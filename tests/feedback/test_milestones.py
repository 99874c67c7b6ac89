"""Partial credit for how far a program got."""

import asyncio
from dataclasses import dataclass

import pytest

from journeyman.credit import group_mean
from journeyman.curricula.accuracy import accuracies
from journeyman.feedback import milestones
from journeyman.protocols import words
from journeyman.types import Judgement
from tests.credit.groups import group_of, render

SEVEN = (
    "imports done",
    "data loaded",
    "features built",
    r"model \w+ made",
    "training begun",
    "training done",
    "predictions written",
)


@dataclass(frozen=True)
class printed:
    """A grader that has run each answer as a program: what it printed, and a score where there was a submission."""

    logs: tuple
    scores: tuple
    statuses: tuple = ()
    needs = words("answer")
    gives = words("score")

    async def __call__(self, group):
        statuses = self.statuses or tuple("abstained" if s is None else "checked" for s in self.scores)
        rows = zip(group.attempts, self.scores, statuses, self.logs, strict=True)
        return [Judgement(a.id, s, status, evidence=log) for a, s, status, log in rows]


def judge(part, n):
    return asyncio.run(part(group_of([0.0] * n)))


def test_the_cards_rewards():
    """.1 for each of seven milestones, -10 for a program that reached none, the grader's score for a submission."""
    logs = ("imports done\ndata loaded\ndata loaded", "", "\n".join([*SEVEN[:3], "model xgb made", *SEVEN[4:]]), "Traceback", "")
    found = judge(milestones(printed(logs, (None, None, 0.83, None, -0.4)), SEVEN), 5)
    assert [j.score for j in found] == pytest.approx([0.2, -10.0, 0.83, -10.0, -0.4])
    assert {j.status for j in found} == {"checked"}
    assert [j.components.get("milestones") for j in found] == [2.0, 0.0, 7.0, 0.0, None]


def test_all_milestones_are_less_than_a_fair_submission():
    every = "\n".join([*SEVEN[:3], "model xgb made", *SEVEN[4:]])
    stuck, right = judge(milestones(printed((every, every), (None, 1.0)), SEVEN), 2)
    assert stuck.score == pytest.approx(0.7)
    assert stuck.score < right.score


def test_what_broke_has_no_score():
    part = milestones(printed(("data loaded", "data loaded", "ok"), (None, None, 1.0), ("timed_out", "failed", "checked")), SEVEN)
    found = judge(part, 3)
    assert [(j.score, j.status) for j in found] == [(None, "timed_out"), (None, "failed"), (1.0, "checked")]


def test_partial_credit_is_learned_and_is_no_accuracy():
    group = group_of([0.0] * 3)
    part = milestones(printed(("data loaded", "", "data loaded"), (None, None, 0.6)), SEVEN)
    judged = type(group)(group.id, group.assignment, group.attempts, tuple(asyncio.run(part(group))))
    scores = [0.1, -10.0, 0.6]
    mean = sum(scores) / 3
    assert [x.advantage[-1] for x in group_mean()(judged, render)] == pytest.approx([s - mean for s in scores])
    assert accuracies(judged) == [0.0, 0.0, 0.6]


def test_the_impossible_is_refused():
    inner = printed((), ())
    for make in (lambda: milestones(inner, ()), lambda: milestones(inner, "abc"), lambda: milestones(inner, ("a",), worth=0.0),
                 lambda: milestones(inner, ("a",), failed=0.0), lambda: milestones(inner, ("(",))):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            make()
    assert milestones(inner, ("a",)).needs == inner.needs
    assert milestones(inner, ("a",)).gives == inner.gives
