from dataclasses import replace

import numpy as np
import pytest

from journeyman.credit import group_mean, group_zscore, leave_one_out, on_sampled, overlong
from journeyman.credit.rules import against_others, centred, zscores
from journeyman.types import Answer, Attempt, Sampling, Trace
from tests.credit.groups import attempt_of, group_of, judged, render


def scores(*values):
    return np.array(values, dtype=np.float64)


def test_cards():
    r = scores(1, 0, 0, 0)
    assert zscores(r, eps=0).tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5])
    assert zscores(r, eps=0, ddof=0).tolist() == pytest.approx([1.7321] + [-0.5774] * 3, abs=1e-4)
    assert centred(r).tolist() == [0.75, -0.25, -0.25, -0.25]
    assert against_others(r).tolist() == pytest.approx([1] + [-1 / 3] * 3)
    assert zscores(r).tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)
    expected = 0.75 / (0.5 + 0.25)
    assert zscores(r, eps=0.25)[0] == pytest.approx(expected), "eps is added to the std"


@pytest.mark.parametrize("rule", [centred, zscores, against_others])
@pytest.mark.parametrize("same", [0.0, 1.0, 0.1])
def test_equal_scores_give_exactly_zero(rule, same):
    assert rule(np.full(7, same)).tolist() == [0.0] * 7


def test_a_lesson_is_the_trace_with_the_advantage_where_it_was_sampled():
    lessons = group_mean()(group_of([1.0, 0.0], ["ab", "cde"]), render)
    first = lessons[0]
    assert first.tokens == (1, 2, 3, 97, 98)
    assert first.train == (False, False, False, True, True)
    assert first.advantage == (0, 0, 0, 0.5, 0.5)
    assert first.behaviour_logp == (0, 0, 0, -0.1, -0.2)
    assert (first.term, first.policy, first.group, first.attempt, first.temperature) == ("rl", "policy", "g", "g/0", 1.0)
    assert lessons[1].advantage[-1] == -0.5


def test_abstentions_have_no_lesson_and_no_part_in_the_baseline():
    lessons = group_mean()(group_of([1.0, None, 0.0, None]), render)
    assert [(x.attempt, x.advantage[-1]) for x in lessons] == [("g/0", 0.5), ("g/2", -0.5)]
    assert leave_one_out()(group_of([1.0, None, None]), render) == []
    assert group_zscore()(group_of([None, None]), render) == []
    errors = replace(group_of([1.0, 0.0, None]), judgements=group_of([1.0, 0.0, None]).judgements[:2])
    assert len(group_mean()(errors, render)) == 2


def test_zero_advantage_still_makes_lessons():
    lessons = group_zscore()(group_of([1.0, 1.0, 1.0]), render)
    assert len(lessons) == 3
    assert not any(x.signal for x in lessons)
    assert all(a == 0 for x in lessons for a in x.advantage)


def test_temperature_is_that_of_sampling_and_greedy_is_one():
    attempts = [attempt_of(0, "a", temperature=0.6), attempt_of(1, "b", temperature=0.0)]
    assert [x.temperature for x in group_mean()(judged(attempts, [1.0, 0.0]), render)] == [0.6, 1.0]


def turns(second_temperature=1.0, second_policy="policy"):
    """A first try, a turn of the user (tokens 50), a second try, and a critic's own trace."""
    first = Trace("g/0:0", "policy", tokens=(1, 10, 11), sampled=(False, True, True), logp=(0, -1, -1), version=(-1, 0, 0))
    second = Trace(
        "g/0:1", second_policy, tokens=(1, 10, 11, 50, 12), sampled=(False, True, True, False, True), logp=(0, -1, -1, 0, -2),
        version=(-1, 0, 0, -1, 0), start=3, parent="g/0:0", sampling=Sampling(temperature=second_temperature),
    )  # fmt: skip
    critic = Trace("g/0:2", "critic", role="critic", tokens=(7, 8), sampled=(False, True), logp=(0, -3), version=(-1, 0))
    return Attempt("g/0", "t", Answer("x", "g/0:1"), (first, second, critic))


def test_all_turns_of_the_answers_line_are_learned_and_nothing_else():
    [lesson, _] = group_mean()(judged([turns(), attempt_of(1, "b")], [1.0, 0.0]), render)
    assert lesson.tokens == (1, 10, 11, 50, 12)
    assert lesson.train == (False, True, True, False, True)
    assert lesson.behaviour_logp == (0, -1, -1, 0, -2)


def test_turns_at_another_temperature_are_lessons_of_their_own():
    warm, cold, _ = group_mean()(judged([turns(0.5), attempt_of(1, "b")], [1.0, 0.0]), render)
    assert (warm.train, warm.temperature) == ((False, True, True, False, False), 1.0)
    assert (cold.train, cold.temperature) == ((False, False, False, False, True), 0.5)


def test_another_policys_turns_are_not_this_ones_lesson():
    [lesson, _] = group_mean()(judged([turns(second_policy="other"), attempt_of(1, "b")], [1.0, 0.0]), render)
    assert (lesson.policy, lesson.train) == ("other", (False, False, False, False, True))


def test_every_trace_learns_each_drawn_token_once():
    lessons = group_mean(every_trace=True)(judged([turns(), attempt_of(1, "b")], [1.0, 0.0]), render)
    assert [(x.policy, x.train) for x in lessons[:3]] == [
        ("policy", (False, True, True)),
        ("policy", (False, False, False, False, True)),
        ("critic", (False, True)),
    ]
    assert all(x.advantage[-1] == 0.5 for x in lessons[:3])


def test_an_answer_without_tokens_is_refused():
    bare = Attempt("g/0", "t", Answer("x"))
    with pytest.raises(ValueError, match="imitate_best"):
        group_mean()(judged([bare, attempt_of(1, "b")], [1.0, 0.0]), render)


def test_overlong_card():
    shaper = overlong(20480, 4096)
    assert [shaper.penalty(n) for n in (100, 16384, 18432, 20480, 21000)] == [0, 0, -0.5, -1, -1]
    with pytest.raises(ValueError, match="expected 1 <= cache <= length"):
        overlong(10, 11)


def test_overlong_is_in_the_advantage_and_not_in_the_score():
    group = group_of([1.0, 1.0], ["a", "abcd"])
    lessons = group_mean(shaper=overlong(4, 2, scale=0.5))(group, render)
    assert [x.advantage[-1] for x in lessons] == [0.25, -0.25]
    assert group.scores() == (1.0, 1.0)


def test_a_rule_of_ones_own():
    lessons = on_sampled(lambda s: s * 2)(group_of([1.0, 3.0]), render)
    assert [x.advantage[-1] for x in lessons] == [2.0, 6.0]


def test_settings_are_checked():
    with pytest.raises(ValueError, match="expected ddof 0 or 1"):
        group_zscore(ddof=2)


def test_what_a_continuation_cut_off_is_not_learned():
    parent = attempt_of(0, "abcde").traces[0]
    tokens, drawn = (*parent.tokens[:5], 7, 8), (False,) * 3 + (True,) * 4
    child = replace(parent, id="g/0:1", parent=parent.id, start=5, tokens=tokens, sampled=drawn, logp=(0.0,) * 7, version=(0,) * 7)
    attempt = Attempt("g/0", "t", Answer("ab", child.id), (parent, child))
    lesson, _ = group_mean()(judged([attempt, attempt_of(1, "x")], [1.0, 0.0]), render)
    assert lesson.tokens == tokens
    assert lesson.train == drawn
