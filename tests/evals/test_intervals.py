"""Intervals: hand examples, edges, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from journeyman.evals import interval_clustered, paired_difference


def test_interval_by_hand() -> None:
    # Three tasks, means 1, 0, 2/3 (the card's clusters): p = 5/9, h = 2, var = 7/27, design = 1.05, design' = 1.025
    found = interval_clustered([1, 0, 2 / 3])
    p, effective, q = 5 / 9, 3 / 1.025, float(stats.t.ppf(0.975, 2))
    low, high = found.low, found.high
    assert found.mean == pytest.approx(p)
    for bound in (low, high):  # Wilson's bounds are the roots of (p - x)^2 = q^2 x (1 - x) / effective
        assert (p - bound) ** 2 == pytest.approx(q * q * bound * (1 - bound) / effective)


@pytest.mark.parametrize("n", [2, 5, 50, 500])
def test_the_edges_keep_a_width_and_mirror_each_other(n: int) -> None:
    none, all_ = interval_clustered([0.0] * n), interval_clustered([1.0] * n)
    assert (none.mean, none.low) == (0.0, 0.0)
    assert 1 / n < none.high < 1
    assert (all_.mean, all_.high) == (1.0, 1.0)
    assert all_.low == pytest.approx(1 - none.high)


def test_zero_of_fifty_is_near_the_exact_bound() -> None:
    exact = 1 - 0.025 ** (1 / 50)  # Clopper-Pearson: 0.0711
    assert interval_clustered([0.0] * 50).high == pytest.approx(exact, abs=0.005)


def test_first_success_does_not_narrow_the_interval_abruptly() -> None:
    none = interval_clustered([0.0] * 50)
    one = interval_clustered([0.125] + [0.0] * 49)
    assert 0.5 * none.high < one.high < 1.5 * none.high


def test_edges_of_the_input() -> None:
    assert (interval_clustered([0.5]).low, interval_clustered([0.5]).high) == (0.0, 1.0)
    assert interval_clustered([0.5] * 50).high - 0.5 > 0.02  # equal means are no certainty either
    with pytest.raises(ValueError, match="at least one task"):
        interval_clustered([])
    with pytest.raises(ValueError, match=r"lie in \[0, 1\], found 0.0 to 2.0"):
        interval_clustered([0, 2])


@pytest.mark.parametrize("n", [10, 50, 200])
@pytest.mark.parametrize("samples", [1, 8])
@pytest.mark.parametrize(("rate", "spread"), [(0.5, 0.3), (0.1, 2.0), (0.02, 1.0), (0.98, 0.3)])
def test_coverage_over_new_tasks(n: int, samples: int, rate: float, spread: float) -> None:
    rng = np.random.default_rng(n + samples)
    runs = 400
    hits = 0
    for _ in range(runs):
        skill = rng.beta(rate * spread, (1 - rate) * spread, n)  # each task its own difficulty
        found = interval_clustered(rng.binomial(samples, skill) / samples)
        hits += found.low <= rate <= found.high
    assert hits / runs > 0.92  # 0.95 less three standard errors of 400 runs


def test_samples_taken_as_independent_would_not_cover() -> None:
    rng = np.random.default_rng(0)
    naive, clustered = 0, 0
    for _ in range(400):
        means = rng.binomial(16, rng.beta(0.15, 0.15, 30)) / 16
        p = means.mean()
        naive += abs(p - 0.5) <= 1.96 * np.sqrt(p * (1 - p) / (30 * 16))
        found = interval_clustered(means.tolist())
        clustered += found.low <= 0.5 <= found.high
    assert naive / 400 < 0.6
    assert clustered / 400 > 0.92


def test_paired_difference_by_hand() -> None:
    a, b = [1, 1, 0, 1, 0, 1, 1, 0], [1, 0, 0, 1, 0, 0, 1, 0]
    found = paired_difference(a, b)
    assert (found.mean, found.n_tasks) == (0.25, 8)
    se = np.sqrt(np.var([*np.subtract(a, b), 1, -1]) / 10)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(se, rel=0.1)
    assert found == paired_difference(a, b)  # seeded
    assert paired_difference(b, a).mean == -0.25


def test_paired_difference_edges() -> None:
    same = paired_difference([0.5] * 50, [0.5] * 50)
    assert same.low < 0 < same.high
    assert 0.02 < same.high < 0.08
    assert same.p == 1.0
    clear = paired_difference([1.0] * 50, [0.0] * 50)
    assert clear.high >= clear.mean == 1.0
    assert clear.low > 0.85
    assert clear.p == 1e-4  # never zero: 10,000 resamples show no more
    with pytest.raises(ValueError, match="found 2 and 1 values"):
        paired_difference([1, 0], [1])
    with pytest.raises(ValueError, match="differences from 3"):
        paired_difference([3], [0])


@pytest.mark.parametrize("n", [20, 100])
def test_paired_coverage_and_power(n: int) -> None:
    rng = np.random.default_rng(n)
    hits, narrower = 0, 0
    for _ in range(200):
        skill = rng.beta(0.5, 0.5, n)
        better = skill + 0.3 * (1 - skill)  # a true mean difference of 0.15 on the same tasks
        a, b = rng.binomial(8, better) / 8, rng.binomial(8, skill) / 8
        found = paired_difference(a.tolist(), b.tolist(), resamples=1000)
        hits += found.low <= 0.15 <= found.high
        unpaired = 2 * 1.96 * np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / n)
        narrower += found.high - found.low < unpaired
    assert hits / 200 > 0.90
    assert narrower > 180
