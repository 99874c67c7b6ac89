"""REINFORCE++, HPT, LUFFY, Clip-Cov, KL-Cov, EMPG, HAPO, D3S, summed views: the cards' numbers and what every credit promises."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from journeyman.credit import (
    bad_per_good,
    batch_whitened,
    by_accuracy,
    demonstrate,
    down_sampled,
    drop_covariant,
    entropy_modulated,
    group_mean,
    group_zscore,
    imitate_best,
    length_cycle,
    mark_covariant,
    overlong,
    ramp,
    summed_views,
    token_zscore,
    with_demonstration,
    with_heat,
    within,
)  # fmt: skip
from journeyman.credit.covariance import covariances
from journeyman.credit.down_sampled import widest
from journeyman.credit.length_cycle import stair, stair_cosine
from journeyman.credit.rules import centred, zscores
from journeyman.credit.uncertainty import runs
from journeyman.credit.with_heat import heats
from journeyman.protocols import Part, Schedule
from journeyman.testing import decode
from journeyman.types import Answer, Attempt, Lesson, Trace
from tests.contract import test_credit as contract
from tests.credit.groups import group_of, judged, render
from tests.credit.rich import rich, rich_group_of


def last(lessons):
    return [x.advantage[-1] for x in lessons]


# ---------------------------------------------------------------------------------------- REINFORCE++

ONE, TWO = [1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]


def pair(texts="abcd"):
    return [group_of(ONE, texts, id="g"), group_of(TWO, texts, id="h")]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [(None, [1.2076, *[-0.7246] * 3, 1.2076, 1.2076, -0.7246, -0.7246]), (centred, [1.5, -0.5, -0.5, -0.5, 1, 1, -1, -1])],
)
def test_reinforce_pp_card(rule, expected):
    credit, groups = batch_whitened(rule) if rule else batch_whitened(), pair()
    credit.observe(groups)
    assert [a for g in groups for a in last(credit(g, render))] == pytest.approx(expected, abs=1e-4)


def test_batch_statistics_are_over_tokens():
    """Scores 1 (3 tokens) and 0 (1 token): mean 0.75 and biased variance 0.1875 over tokens."""
    credit, group = batch_whitened(ddof=0), group_of([1.0, 0.0], ["abc", "a"])
    credit.observe([group])
    assert last(credit(group, render)) == pytest.approx([0.25 / 0.1875**0.5, -0.75 / 0.1875**0.5], rel=1e-6)
    assert credit.value() == pytest.approx(0.1875**0.5)


def test_batch_whitened_is_a_schedule_that_the_run_feeds_and_keeps():
    credit = batch_whitened()
    assert isinstance(credit, Schedule)
    with pytest.raises(ValueError, match="has seen no step"):
        credit(group_of(ONE), render)
    credit.observe([group_of([None, None])])
    with pytest.raises(ValueError, match="has seen no step"):
        credit(group_of(ONE), render)
    credit.observe(pair())
    again = batch_whitened()
    again.load_state_dict(credit.state_dict())
    assert again(pair()[0], render) == credit(pair()[0], render)
    before = credit.state_dict()
    credit.observe([group_of([None, None])])
    assert credit.state_dict() == before, "a step without a score leaves the statistics"


def test_batch_whitened_learns_from_groups_of_one_and_equal_scores_are_zero():
    credit, groups = batch_whitened(), [group_of([1.0], id="g"), group_of([0.0], id="h")]
    credit.observe(groups)
    first, second = (last(credit(g, render))[0] for g in groups)
    assert first > 0 > second
    same = [group_of([0.1] * 3, id="g"), group_of([0.1], id="h")]
    credit.observe(same)
    assert [a for g in same for a in last(credit(g, render))] == [0.0] * 4


def test_batch_whitened_shapes_scores():
    credit, group = batch_whitened(shaper=overlong(4, 2)), group_of([1.0, 1.0], ["a", "abcd"])
    credit.observe([group])
    a, b = last(credit(group, render))
    assert a > 0 > b


# ---------------------------------------------------------------------------------------- demonstrations


def test_hpt_card():
    """Gate 0: 0, 1 and 8 right of 8 are learned from the demonstration, from the answers, and from answers without signal."""
    hpt = by_accuracy(demonstrate(), group_mean())
    found = [hpt(rich_group_of([1.0] * n + [0.0] * (8 - n)), render) for n in (0, 1, 8)]
    assert [{x.term for x in lessons} for lessons in found] == [{"sft"}, {"rl"}, {"rl"}]
    assert [len(lessons) for lessons in found] == [1, 8, 8]
    assert last(found[1]) == [0.875] + [-0.125] * 7
    assert not any(x.signal for x in found[2])
    assert by_accuracy(demonstrate(), group_mean(), 0.25)(rich_group_of([1.0] * 2 + [0.0] * 6), render)[0].term == "sft"
    assert hpt(rich_group_of([None, None]), render) == []
    assert hpt.needs == {"score", "siblings", "tokens"}
    assert {"term.rl", "term.sft"} <= hpt.gives


def test_a_demonstration_is_the_plain_prompt_and_the_solution():
    [lesson] = demonstrate()(rich(group_of([0.0]), solution="six"), render)
    assert decode(lesson.tokens) == "user: question?assistant: six"
    assert decode([t for t, m in zip(lesson.tokens, lesson.train, strict=True) if m]) == "six"
    assert lesson.advantage == tuple(map(float, lesson.train))
    assert (lesson.term, lesson.behaviour_logp, lesson.attempt) == ("sft", None, "g/demonstration")
    assert demonstrate("demo").gives == {"lessons", "advantage", "term.demo"}
    with pytest.raises(ValueError, match="task 't' has no worked solution"):
        demonstrate()(group_of([0.0]), render)


def test_luffy_card():
    lessons = with_demonstration()(rich_group_of([0.0, 0.0, 0.0]), render)
    assert last(lessons) == [-0.25, -0.25, -0.25, 0.75]
    assert [set(x.streams["off_policy"]) for x in lessons] == [{0.0}, {0.0}, {0.0}, {1.0}]
    assert {x.term for x in lessons} == {"rl"}
    assert not any(x.signal for x in with_demonstration()(rich_group_of([1.0, 1.0]), render)), "all right: nothing to copy"


# ---------------------------------------------------------------------------------------- covariance


def fixed(lesson):
    """A credit that gives this lesson."""

    def credit(group, render):
        return [lesson]

    credit.needs, credit.gives = frozenset(), frozenset({"lessons", "advantage"})
    return credit


COV = Lesson((1, 2, 3, 4), (True,) * 4, (1.0, 1.0, -1.0, -1.0), behaviour_logp=(-0.1, -2.0, -0.3, -3.0), attempt="g/0")


def test_covariance_card():
    assert [cov for _, cov in covariances([COV])] == pytest.approx([1.25, -0.65, -1.05, 1.65])
    [marked] = mark_covariant(fixed(COV), share=0.25)(group_of(ONE), render)
    assert marked.streams["restrained"] == (0, 0, 0, 1)
    assert marked.advantage == COV.advantage
    [dropped] = drop_covariant(fixed(COV), share=0.5)(group_of(ONE), render)
    assert dropped.advantage == (0, 1, -1, 0), "candidates are tokens 0 and 3"
    assert dropped.train == COV.train, "what is left out still counts in the denominators"
    assert "restrained" in mark_covariant().gives


def test_a_share_of_less_than_a_token_drops_one_with_that_chance():
    counts = []
    for i in range(400):
        [x] = drop_covariant(fixed(COV), share=0.05)(group_of(ONE, id=f"g{i}"), render)
        counts.append(x.advantage.count(0.0))
    assert set(counts) == {0, 1}
    assert np.mean(counts) == pytest.approx(0.2, abs=0.06)


def test_covariances_need_what_was_sampled():
    with pytest.raises(ValueError, match="has no behaviour_logp"):
        mark_covariant(imitate_best())(group_of(ONE), render)


# ---------------------------------------------------------------------------------------- entropy


def test_empg_card():
    h, follows = np.array([0.1, 0.5, 0.9]), np.array([True, True, False])
    part = entropy_modulated()
    assert part.modulated(np.ones(3), h, follows).tolist() == pytest.approx([0.53353, -0.07626, -0.45727], abs=1e-5)
    before = np.array([-1.48911, -0.90319, -0.55897])
    assert part.modulated(-np.ones(3), h, follows).tolist() == pytest.approx((before - before.mean()).tolist(), abs=1e-5)
    flat = entropy_modulated(sharpness=0.0, bonus=0.0)
    assert flat.modulated(np.array([1.0, 0.0, -4.0]), h, follows).tolist() == pytest.approx([2, 1, -3]), "the base, centred"


def test_empg_steps_are_turns_and_the_bonus_stays_in_its_answer():
    tokens, drawn = (1, 10, 11, 50, 12), (False, True, True, False, True)
    trace = Trace("g/0:0", tokens=tokens, sampled=drawn, logp=(0, -1, -1, 0, -2), version=(0,) * 5)
    other = Trace("g/1:0", tokens=(1, 9), sampled=(False, True), logp=(0, -1), version=(0, 0))
    attempts = [Attempt("g/0", "t", Answer("x", "g/0:0"), (trace,)), Attempt("g/1", "t", Answer("y", "g/1:0"), (other,))]
    group = rich(judged(attempts, [1.0, 0.0]), [[9, 0.0, 0.2, 9, 0.5], [9, 0.9]])
    assert runs(drawn) == [(1, 3), (4, 5)]
    lessons = entropy_modulated(group_mean())(group, render)
    expected = entropy_modulated().modulated(np.array([0.5, 0.5, -0.5]), np.array([0.1, 0.5, 0.9]), np.array([True, False, False]))
    a, b, c = expected.tolist()
    assert lessons[0].advantage == pytest.approx((0, a, a, 0, b))
    assert lessons[1].advantage == pytest.approx((0, c))


def test_entropies_must_be_there():
    with pytest.raises(ValueError, match="no trace with a stream 'entropy'"):
        entropy_modulated()(group_of(ONE), render)
    assert "entropy" in entropy_modulated().needs


def test_hapo_cards():
    part = token_zscore()
    assert part.normalised(np.array([1.0, 0.0]), np.array([2, 8])).tolist() == pytest.approx([2.0, -0.5], abs=1e-5)
    far = part.normalised(np.array([1.0, 0.0]), np.array([1, 99]))
    assert far.tolist() == pytest.approx(zscores(np.array([1.0, 0.0]), ddof=0).tolist()), "beyond the limit: GRPO"
    found = heats(np.array([0.01, 0.05, 0.2, 0.5, 1, 2]), 0.8)
    assert found.tolist() == pytest.approx([-1, -0.65, -0.35, -0.15, 0, 1], abs=5e-3)
    assert heats(np.full(4, 0.3), 0.8).tolist() == [0.0] * 4


def test_hapo_token_advantages_add_to_zero_and_heat_is_where_tokens_are_learned():
    group = rich_group_of([1.0, 0.0, 0.0], ["ab", "cdefgh", "ij"])
    lessons = with_heat(token_zscore())(group, render)
    assert sum(sum(x.advantage) for x in lessons) == pytest.approx(0, abs=1e-9)
    heat = [h for x in lessons for h in x.streams["heat"]]
    assert (min(heat), max(heat)) == (-1, 1)
    assert all(h == 0 for x in lessons for h, t in zip(x.streams["heat"], x.train, strict=True) if not t)


# ---------------------------------------------------------------------------------------- selection


def test_d3s_card():
    both = [*zscores(np.array(ONE), 0, 0), *zscores(np.array(TWO), 0, 0)]
    kept = sorted(both[i] for i in widest(both, 4))
    assert kept == pytest.approx([-1, -1, 1, 3**0.5])
    best = max(np.var(x) for x in itertools.combinations(both, 4))
    assert np.var(kept) == pytest.approx(best) == pytest.approx(1.4665, abs=1e-4)


def test_down_sampling_keeps_the_uncertain_tokens_of_the_answers_that_differ():
    flat = [0.1, 0.1, 0.1]
    group = rich(group_of([1.0, 0.0, 0.0, 0.0], ["abc"] * 4), [[*flat, 0.2, 0.9, 0.4]] * 4)
    lessons = down_sampled(group_mean(), answers=0.5, tokens=1 / 3)(group, render)
    [only] = lessons
    assert (only.attempt, only.train) == ("g/0", (False, False, False, False, True, True)), "0.75 * 0.4 is before 0.25 * 0.9"
    whole = down_sampled(group_mean(), answers=1.0, tokens=1.0)(group, render)
    assert whole == group_mean()(group, render)


def test_a_ramp_goes_from_first_to_last_and_resumes():
    part = ramp(0.2, 0.8, 4)
    values = []
    for _ in range(6):
        part.observe([])
        values.append(part.value())
    assert values == pytest.approx([0.2, 0.35, 0.5, 0.65, 0.8, 0.8])
    again = ramp(0.2, 0.8, 4)
    again.load_state_dict(part.state_dict())
    assert again.value() == 0.8
    assert isinstance(part, Schedule)
    with pytest.raises(ValueError, match="expected at least 1"):
        ramp(0, 1, 0)


def test_bad_per_good_follows_the_step_and_resumes():
    part = bad_per_good()
    assert (part.value(), isinstance(part, Schedule)) == (1.0, True)
    part.observe([group_of([1.0, 0.0, 0.0, 0.0]), group_of([1.0, 0.5, 0.0, 0.0])])
    assert part.value() == 3.0, "six bad answers, two good ones"
    part.observe([])
    assert part.value() == 3.0, "a step without answers says nothing"
    again = bad_per_good()
    again.load_state_dict(part.state_dict())
    assert again.value() == 3.0
    part.observe([group_of([1.0, 1.0])])
    assert part.value() == 1.0, "none bad"
    part.observe([group_of([0.0, 0.0] * 8)])
    assert part.value() == 10.0, "none good"
    twice = bad_per_good(4 / 3, most=2.0)
    twice.observe([group_of([1.0, 0.0])])
    assert twice.value() == pytest.approx(4 / 3)
    with pytest.raises(ValueError, match="expected times above 0"):
        bad_per_good(0)


def test_summed_views_card():
    """Views 1, 2, 3 and 3, 1, 2: normalised, then added; in tens they would be the same, which raw sums are not."""
    views = {"a": [1.0, 2.0, 3.0], "b": [30.0, 10.0, 20.0]}
    components = [{k: v[i] for k, v in views.items()} for i in range(3)]
    group = group_of([0.0, 0.0, 0.0], components=components)
    assert last(summed_views(("a", "b"))(group, render)) == pytest.approx([0, -1.2247, 1.2247], abs=1e-4)
    assert last(summed_views(("a", "b"), limit=1.0)(group, render)) == pytest.approx([0, -1, 1], abs=1e-4)
    with pytest.raises(ValueError, match=r"components \['a', 'b'\], not \['c'\]"):
        summed_views(("a", "c"))(group, render)


# ---------------------------------------------------------------------------------------- length


def test_siri_card():
    cycle = length_cycle()
    found = [cycle.at(t) for t in (0, 80, 160, 320, 480, 640)]
    assert found == pytest.approx([16384, 15184.3, 12288, 8192, 12288, 16384], abs=0.05)
    steps = [length_cycle(3, 1, 8, stair).at(t) for t in range(9)]
    assert steps == [1, 1, 1, 1, 3, 3, 3, 3, 1]
    flat = [length_cycle(3, 1, 16, stair_cosine).at(t) for t in range(16)]
    assert flat == pytest.approx([3, 3, 3, 2 + 2**-0.5, 2, 2 - 2**-0.5, 1, 1, 1, 1, 1, 2 - 2**-0.5, 2, 2 + 2**-0.5, 3, 3])
    cycle.observe([])
    assert cycle.value() == 16384, "the first step has the longest budget"
    again = length_cycle()
    again.load_state_dict(cycle.state_dict())
    assert again.value() == cycle.value()


def test_what_is_beyond_the_budget_is_neither_right_nor_learned():
    group = group_of([1.0, 1.0, 0.0], ["ab", "abcd", "abc"])
    lessons = within(group_mean(), 3.0)(group, render)
    assert last(lessons)[0] == pytest.approx(2 / 3)
    assert [x.train for x in lessons] == [(False,) * 3 + m for m in ((True, True), (True, True, True, False), (True,) * 3)]
    assert lessons[1].advantage == pytest.approx((0, 0, 0, -1 / 3, -1 / 3, -1 / 3, 0))
    assert group.scores() == (1.0, 1.0, 0.0)
    assert within(group_mean(), 4)(group, render) == group_mean()(group, render)
    with pytest.raises(ValueError, match="on what was sampled"):
        within(imitate_best(), 9)(group, render)


# ---------------------------------------------------------------------------------------- promises


def seen(credit):
    credit.observe([group_of([1.0, 0.0, 0.5])])
    return credit


WHOLE = {
    "batch_whitened": seen(batch_whitened()),
    "by_accuracy": by_accuracy(demonstrate(), group_mean()),
    "with_demonstration": with_demonstration(),
    "drop_covariant": drop_covariant(share=0.2, low=-0.5),
    "mark_covariant": mark_covariant(share=0.2),
    "entropy_modulated": entropy_modulated(),
    "token_zscore": token_zscore(),
    "with_heat": with_heat(token_zscore()),
    "down_sampled": down_sampled(),
    "summed_views": summed_views(("first", "second")),
    "within": within(group_mean(), length_cycle(8, 5, 4)),
}
PROMISES = [
    contract.test_it_gives_what_it_says,
    contract.test_siblings_in_another_order_have_the_same_lessons,
    contract.test_credit_is_only_where_a_token_is_learned,
    contract.test_abstentions_are_never_learned_from,
    contract.test_one_checked_sibling_is_finite_or_nothing,
    contract.test_it_does_the_same_twice_and_lessons_are_json,
]
# Two kinds of lessons at once are not what the first of them asks for, and a choice of answers may leave out the one that the
# fourth reads; the tests above say what those parts do there.
EXCEPT = {("by_accuracy", PROMISES[0]), ("with_demonstration", PROMISES[0]), ("down_sampled", PROMISES[3])}
KEPT = [(name, promise) for name in WHOLE for promise in PROMISES if (name, promise) not in EXCEPT]


@pytest.mark.parametrize(("name", "promise"), KEPT, ids=[f"{name}-{promise.__name__}" for name, promise in KEPT])
def test_it_keeps_what_every_credit_promises(name, promise, monkeypatch):
    monkeypatch.setitem(contract.WHOLE, name, WHOLE[name])
    monkeypatch.setattr(contract, "group_of", rich_group_of)
    promise(name)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("same", [0.0, 1.0, 1e-9, 1e9])
def test_equal_scores_are_finite(name, same, monkeypatch):
    monkeypatch.setitem(contract.WHOLE, name, WHOLE[name])
    monkeypatch.setattr(contract, "group_of", rich_group_of)
    contract.test_equal_scores_are_finite(name, same)


def test_every_part_declares_what_it_needs_and_refuses_the_impossible():
    assert all(isinstance(x, Part) for x in [*WHOLE.values(), demonstrate(), ramp(0, 1, 2)])
    for make in (lambda: batch_whitened(ddof=3), lambda: drop_covariant(share=2), lambda: drop_covariant(low=6.0),
                 lambda: mark_covariant(share=-1), lambda: with_heat(group_zscore(), 2.0), lambda: down_sampled(tokens=0.0),
                 lambda: summed_views(()), lambda: summed_views("ab"), lambda: length_cycle(4, 8)):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            make()
    assert down_sampled(tokens=ramp(0.2, 0.8, 4)).needs == {"entropy", "score", "siblings", "tokens"}
    assert replace(with_demonstration(), score=0.5)(rich_group_of([0.0]), render)[-1].advantage[-1] == 0.25
