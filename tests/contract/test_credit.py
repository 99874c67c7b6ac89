"""What every credit in ``credit.__all__`` promises."""

import dataclasses
import math

import pytest

from journeyman import credit
from journeyman.credit import (
    equation_list,
    group_mean,
    group_zscore,
    imitate_best,
    labelled,
    leave_one_out,
    on_sampled,
    overlong,
    pairs,
    step_pairs,
    win_rate,
)  # fmt: skip
from journeyman.credit.rules import centred
from journeyman.protocols import Part
from journeyman.types import Lesson, from_json, to_json
from tests.credit.groups import render
from tests.credit.rich import rich_group_of as group_of


def seen(part):
    """A credit that is also a schedule, as the loop uses it: after it has seen the step."""
    part.observe([group_of([1.0, 0.0, 0.5])])
    return part


WHOLE = {
    "group_mean": group_mean(),
    "group_zscore": group_zscore(),
    "leave_one_out": leave_one_out(),
    "on_sampled": on_sampled(centred),
    "imitate_best": imitate_best(keep=9),
    "pairs": pairs(),
    "labelled": labelled(),
    "win_rate": win_rate(),
    "batch_whitened": seen(credit.batch_whitened()),
    "by_accuracy": credit.by_accuracy(credit.demonstrate(), group_mean()),
    "with_demonstration": credit.with_demonstration(),
    "drop_covariant": credit.drop_covariant(share=0.2, low=-0.5),
    "mark_covariant": credit.mark_covariant(share=0.2),
    "entropy_modulated": credit.entropy_modulated(),
    "token_zscore": credit.token_zscore(),
    "with_heat": credit.with_heat(credit.token_zscore()),
    "down_sampled": credit.down_sampled(group_mean(), 1.0, 0.9),
    "summed_views": credit.summed_views(("first", "second")),
    "process_consistent": credit.process_consistent(remove=0),
    "step_penalised": credit.step_penalised(),
    "span_returns": credit.span_returns(outcome=0.3),
    "outcome": credit.outcome(),
    "outcome_of": credit.outcome_of(),
    "within": credit.within(group_mean(), credit.length_cycle(8, 5, 4)),
}
INNER = {
    "equation_list": equation_list,
    "overlong": overlong(),
    "step_pairs": step_pairs(),
    "demonstrate": credit.demonstrate(),
    "ramp": credit.ramp(0.2, 0.8, 4),
    "bad_per_good": credit.bad_per_good(),
    "length_cycle": credit.length_cycle(),
    "with_refinement": credit.with_refinement(),
    "turn_decayed": credit.turn_decayed(),
    "self_explained": credit.self_explained(),
    "over_branches": credit.over_branches(group_mean()),
    "by_duration": credit.by_duration(),
}  # tests/credit/: step_pairs in test_pairs.py, the last two in test_branch_credit.py, three before in test_critique_credit.py
MIXED = {"with_demonstration"}  # in one term, sampled lessons that keep behaviour_logp and one that has none: it is not given
every = pytest.mark.parametrize("name", WHOLE)
SCORES = [1.0, 0.0, 0.25, 1.0, 0.5]


def test_every_part_is_here_and_declares_what_it_needs():
    assert {*WHOLE, *INNER} == set(credit.__all__)
    for part in [*WHOLE.values(), *INNER.values()]:
        assert isinstance(part, Part)


def by_attempt(lessons):
    return {x.attempt: x for x in lessons}


@every
def test_it_gives_what_it_says(name):
    part = WHOLE[name]
    lessons = part(group_of(SCORES), render)
    assert lessons
    assert {"lessons", "advantage"} <= part.gives
    unsolved = part(group_of([0.0] * len(SCORES)), render)  # where some parts turn to a demonstration
    assert {f"term.{x.term}" for x in [*lessons, *unsolved]} == {w for w in part.gives if w.startswith("term.")}
    terms = {x.term for x in [*lessons, *unsolved]}
    mine = [x for x in [*lessons, *unsolved] if x.term == "rl" or terms == {x.term}]  # where terms are several, of what was sampled
    have = {x.behaviour_logp is not None for x in mine}
    assert have == ({True, False} if name in MIXED else {"behaviour_logp" in part.gives})
    assert name not in MIXED or "behaviour_logp" not in part.gives


@every
def test_siblings_in_another_order_have_the_same_lessons(name):
    group = group_of(SCORES)
    order = [3, 0, 4, 2, 1]
    turned = dataclasses.replace(group, attempts=tuple(group.attempts[i] for i in order), judgements=group.judgements[::-1])
    found, again = by_attempt(WHOLE[name](group, render)), by_attempt(WHOLE[name](turned, render))
    assert found.keys() == again.keys()
    for attempt, lesson in found.items():
        other = again[attempt]
        assert lesson.advantage == pytest.approx(other.advantage, abs=1e-12)
        assert dataclasses.replace(lesson, advantage=other.advantage) == other


@every
def test_credit_is_only_where_a_token_is_learned(name):
    for x in WHOLE[name](group_of(SCORES), render):
        assert any(x.train)
        assert all(a == 0 for a, t in zip(x.advantage, x.train, strict=True) if not t)


@every
def test_abstentions_are_never_learned_from(name):
    part = WHOLE[name]
    some = by_attempt(part(group_of([1.0, None, 0.0, None, 0.5]), render))
    assert not {"g/1", "g/3"} & some.keys()
    assert part(group_of([None, None]), render) == []
    alone = by_attempt(part(group_of([1.0, 0.0, 0.5], ["answer 0", "answer 2", "answer 4"]), render))
    assert {len(some), len(alone)} == {len(some)}
    first = some["g/0"].advantage[-1]
    assert first == pytest.approx(alone["g/0"].advantage[-1]), "an abstention changes nobody's baseline"


@every
@pytest.mark.parametrize("same", [0.0, 1.0, 1e-9, 1e9])
def test_equal_scores_are_finite(name, same):
    lessons = WHOLE[name](group_of([same] * 5), render)
    assert all(math.isfinite(a) for x in lessons for a in x.advantage)


@every
def test_one_checked_sibling_is_finite_or_nothing(name):
    lessons = WHOLE[name](group_of([1.0, None]), render)
    assert all(math.isfinite(a) for x in lessons for a in x.advantage)
    if "siblings" in WHOLE[name].needs:
        assert lessons == []


@every
def test_it_does_the_same_twice_and_lessons_are_json(name):
    group = group_of(SCORES)
    lessons = WHOLE[name](group, render)
    assert WHOLE[name](group, render) == lessons
    assert [from_json(to_json(x), Lesson) for x in lessons] == lessons


@pytest.mark.parametrize("name", ["group_mean", "group_zscore", "leave_one_out"])
def test_a_constant_added_to_all_scores_changes_nothing(name):
    a = WHOLE[name](group_of(SCORES), render)
    b = WHOLE[name](group_of([s + 3 for s in SCORES]), render)
    for x, y in zip(a, b, strict=True):
        assert x.advantage == pytest.approx(y.advantage, abs=1e-9)


@pytest.mark.parametrize("name", ["group_mean", "group_zscore", "leave_one_out"])
def test_advantages_of_a_group_add_to_zero(name):
    assert sum(x.advantage[-1] for x in WHOLE[name](group_of(SCORES), render)) == pytest.approx(0, abs=1e-9)
