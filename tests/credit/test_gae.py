"""Generalised advantage estimation against numbers worked out by hand, and the rewards it starts from."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.credit import outcome
from journeyman.credit.gae import gae
from journeyman.credit.span_returns import returns as discounted
from journeyman.types import Answer, Attempt, Sampling, Trace
from tests.credit.groups import attempt_of, group_of, judged, render

ALL = (True, True, True)
NUMBER = st.floats(-2, 2)
ROWS = st.lists(st.tuples(NUMBER, NUMBER, st.booleans()), min_size=1, max_size=12)
SHARE = st.floats(0, 1)


def test_three_steps_by_hand():
    """delta = (0.9 * 0.4 - 0.5, 0.9 * 0.6 - 0.4, 1 - 0.6) = (-0.14, 0.14, 0.4); each A is delta + 0.72 of the next."""
    advantages, returns = gae([0, 0, 1], [0.5, 0.4, 0.6], ALL, 0.9, 0.8)
    assert advantages == pytest.approx([-0.14 + 0.72 * 0.428, 0.14 + 0.72 * 0.4, 0.4])
    assert advantages == pytest.approx([0.16816, 0.428, 0.4])
    assert returns == pytest.approx([0.66816, 0.828, 1.0])


def test_the_worked_numbers_of_a_constant_value():
    assert gae([0, 0, 1], [0.5] * 3, ALL, 1.0, 1.0)[0] == pytest.approx([0.5, 0.5, 0.5])
    assert gae([0, 0, 1], [0.5] * 3, ALL, 1.0, 0.95)[0] == pytest.approx([0.45125, 0.475, 0.5])


@given(ROWS, SHARE, SHARE)
def test_it_is_the_sum_of_the_paper(rows, gamma, lam):
    """The definition, written out as the paper has it, over the tokens drawn alone."""
    rewards, values, drawn = map(list, zip(*rows, strict=True))
    own = [(r, v) for r, v, d in rows if d]
    follows = [*(v for _, v in own[1:]), 0.0][: len(own)]
    deltas = [r + gamma * n - v for (r, v), n in zip(own, follows, strict=True)]
    literal = [sum((gamma * lam) ** k * d for k, d in enumerate(deltas[t:])) for t in range(len(own))]
    advantages, returns = gae(rewards, values, drawn, gamma, lam)
    drawn = np.array(drawn)
    assert advantages[drawn] == pytest.approx(literal, abs=1e-9)
    assert returns[drawn] == pytest.approx([a + v for a, (_, v) in zip(literal, own, strict=True)], abs=1e-9)


@given(ROWS, SHARE, SHARE)
def test_tokens_of_others_have_nothing_and_reach_nothing(rows, gamma, lam):
    rewards, values, drawn = map(np.array, zip(*rows, strict=True))
    advantages, returns = gae(rewards, values, drawn, gamma, lam)
    assert not advantages[~drawn].any()
    assert not returns[~drawn].any()
    spoiled = gae(np.where(drawn, rewards, np.nan), np.where(drawn, values, np.nan), drawn, gamma, lam)
    assert (spoiled[0] == advantages).all()
    assert (spoiled[1] == returns).all()
    alone = gae(rewards[drawn], values[drawn], drawn[drawn], gamma, lam)
    assert (alone[0] == advantages[drawn]).all(), "as if they were not there"


@given(ROWS)
def test_gamma_and_lambda_one_is_return_minus_value(rows):
    rewards, values, _ = map(np.array, zip(*rows, strict=True))
    drawn = [True] * len(rows)
    advantages, returns = gae(rewards, values, drawn, 1.0, 1.0)
    to_go = np.cumsum(rewards[::-1])[::-1]
    assert advantages == pytest.approx(to_go - values, abs=1e-9)
    assert returns == pytest.approx(to_go, abs=1e-9)


@given(ROWS, SHARE)
def test_lambda_zero_is_one_step_of_temporal_difference(rows, gamma):
    rewards, values, _ = map(np.array, zip(*rows, strict=True))
    advantages, _ = gae(rewards, values, [True] * len(rows), gamma, 0.0)
    assert advantages == pytest.approx(rewards + gamma * np.append(values[1:], 0.0) - values, abs=1e-9)


@given(ROWS, SHARE, SHARE)
def test_without_values_it_is_the_discounted_return(rows, gamma, lam):
    rewards, _, drawn = map(np.array, zip(*rows, strict=True))
    advantages, returns = gae(rewards, np.zeros(len(rows)), drawn, gamma, lam)
    assert advantages == pytest.approx(discounted(rewards, tuple(drawn), gamma * lam), abs=1e-12)
    assert (advantages == returns).all()


# ---------------------------------------------------------------------------------------- rewards


def test_the_outcome_is_at_the_last_token_and_the_return_at_each():
    first, second = outcome()(group_of([1.0, 0.25], ["ab", "xyz"]), render)
    assert first.streams["reward"] == (0, 0, 0, 0, 1)
    assert second.streams["reward"] == (0, 0, 0, 0, 0, 0.25)
    assert second.advantage == (0, 0, 0, 0.25, 0.25, 0.25)
    assert second.train == (False,) * 3 + (True,) * 3
    assert second.behaviour_logp is not None


def test_one_sibling_will_do_and_an_abstention_has_no_lesson():
    assert len(outcome()(group_of([0.5]), render)) == 1
    assert [x.attempt for x in outcome()(group_of([None, 0.0]), render)] == ["g/1"]


def test_between_turns_nothing_is_learned():
    """Two tokens drawn, two of the user's, one drawn."""
    drawn = (False, True, True, False, False, True)
    first = Trace("g/0:0", tokens=(1, 2, 3), sampled=drawn[:3], logp=(0.0,) * 3, version=(0,) * 3, start=1)
    second = Trace("g/0:1", tokens=(1, 2, 3, 4, 5, 6), sampled=drawn, logp=(0.0,) * 6, version=(0,) * 6, start=5, parent=first.id)
    attempt = Attempt("g/0", "t", Answer("x", second.id), (first, second))
    (lesson,) = outcome()(judged([attempt], [1.0]), render)
    assert lesson.train == drawn
    assert lesson.streams["reward"] == (0, 0, 0, 0, 0, 1)
    advantages, returns = gae(lesson.streams["reward"], [9, 0.2, 0.4, 9, 9, 0.6], lesson.train, 1.0, 1.0)
    assert advantages == pytest.approx([0, 0.8, 0.6, 0, 0, 0.4])
    assert returns == pytest.approx([0, 1, 1, 0, 0, 1])


def test_a_trace_of_two_temperatures_has_the_outcome_at_the_end_of_each():
    one = attempt_of(0, "ab").traces[0]
    cold = replace(
        one, id="g/0:1", parent=one.id, tokens=(*one.tokens, 9), sampled=(*one.sampled, True), logp=(*one.logp, 0.0),
        version=(*one.version, 0), start=5, sampling=Sampling(temperature=0.5),
    )  # fmt: skip
    found = outcome()(judged([Attempt("g/0", "t", Answer("x", cold.id), (one, cold))], [1.0]), render)
    assert [(x.temperature, x.streams["reward"]) for x in found] == [(1.0, (0, 0, 0, 0, 1, 0)), (0.5, (0, 0, 0, 0, 0, 1))]
