"""pass@k and maj@k: hand examples, brute force, and bias."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.evals import maj_at_k, pass_at_k


def test_pass_at_k_by_hand() -> None:
    assert [round(float(pass_at_k(10, 3, k)), 6) for k in (1, 2, 5, 8)] == [0.3, 0.533333, 0.916667, 1.0]
    assert pass_at_k([4, 4, 4], [0, 1, 4], 2).tolist() == [0.0, 0.5, 1.0]
    assert pass_at_k([[5], [6]], [0, 5], 5).shape == (2, 2)
    assert float(pass_at_k(2000, 1, 1000)) == pytest.approx(0.5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_mean_over_subsets(correct: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(correct)))
    expected = np.mean([any(chosen) for chosen in combinations(correct, k)])
    assert float(pass_at_k(len(correct), sum(correct), k)) == pytest.approx(expected)


def test_pass_at_k_is_unbiased_and_the_plug_in_is_not() -> None:
    rng = np.random.default_rng(0)
    n, k, p = 8, 4, 0.2
    c = rng.binomial(n, p, 20_000)
    truth = 1 - (1 - p) ** k
    found = pass_at_k(n, c, k)
    plug_in = 1 - (1 - c / n) ** k
    assert abs(found.mean() - truth) < 3 * found.std() / np.sqrt(len(c))
    assert plug_in.mean() < truth - 10 * plug_in.std() / np.sqrt(len(c))


def test_pass_at_k_refuses_what_it_cannot_estimate() -> None:
    with pytest.raises(ValueError, match="pass@5 needs at least 5 samples of every task, found 4"):
        pass_at_k([8, 4], [1, 1], 5)
    with pytest.raises(ValueError, match="more correct samples than samples"):
        pass_at_k(4, 5, 1)
    with pytest.raises(ValueError, match="k is at least 1"):
        pass_at_k(4, 1, 0)


def brute_force(answers: list[str | None], correct: list[bool], k: int) -> float:
    right = {a: np.mean([c for b, c in zip(answers, correct, strict=True) if b == a]) for a in set(answers) - {None}}
    scores = []
    for chosen in combinations(range(len(answers)), k):
        votes = [answers[i] for i in chosen if answers[i] is not None]
        top = max((votes.count(v) for v in votes), default=0)
        winners = sorted({v for v in votes if votes.count(v) == top})
        scores.append(np.mean([right[w] for w in winners]) if winners else 0.0)
    return float(np.mean(scores))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d", None]), st.booleans()), min_size=1, max_size=10), st.data())
def test_maj_at_k_is_the_mean_over_subsets(samples: list[tuple[str | None, bool]], data: st.DataObject) -> None:
    answers, correct = [a for a, _ in samples], [c for _, c in samples]
    k = data.draw(st.integers(1, len(samples)))
    assert maj_at_k(answers, correct, k) == pytest.approx(brute_force(answers, correct, k))


def test_maj_at_k_by_hand() -> None:
    assert maj_at_k(["4", "4", "5"], [True, True, False], 3) == 1.0
    assert maj_at_k(["4", "5"], [True, False], 2) == pytest.approx(0.5)  # a tie is split
    assert maj_at_k([None, None, "4"], [False, False, True], 3) == 1.0  # silence does not vote
    assert maj_at_k([None, None, "4"], [False, False, True], 1) == pytest.approx(1 / 3)
    assert maj_at_k([None, None], [False, False], 2) == 0.0
    answers = ["4"] * 400 + ["5"] * 300 + [str(i) for i in range(300)]
    assert 0.6 < maj_at_k(answers, [a == "4" for a in answers], 16) < 0.9


def test_maj_at_k_agrees_with_sampling_where_subsets_are_too_many() -> None:
    rng = np.random.default_rng(0)
    answers = [str(x) for x in rng.choice(6, size=64, p=[0.3, 0.25, 0.2, 0.15, 0.05, 0.05])]
    correct = [a == "1" for a in answers]
    draws = []
    for _ in range(4000):
        votes = [answers[i] for i in rng.choice(64, size=16, replace=False)]
        top = max(votes.count(v) for v in set(votes))
        winners = [v for v in set(votes) if votes.count(v) == top]
        draws.append(("1" in winners) / len(winners))
    assert abs(maj_at_k(answers, correct, 16) - np.mean(draws)) < 4 * np.std(draws) / np.sqrt(4000)


def test_maj_at_k_refuses_what_it_cannot_count() -> None:
    with pytest.raises(ValueError, match="found 2 samples"):
        maj_at_k(["a", "b"], [True, False], 3)
    with pytest.raises(ValueError, match="found 2 answers and 1 verdicts"):
        maj_at_k(["a", "b"], [True], 1)
    with pytest.raises(ValueError, match="found 1001"):
        maj_at_k(["a"] * 1001, [True] * 1001, 1)
