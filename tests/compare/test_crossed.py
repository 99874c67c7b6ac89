"""The crossed bootstrap on numbers that can be checked by hand."""

import numpy as np
import pytest
from scipy import stats

from journeyman.compare.crossed import crossed_bootstrap, means, stretch
from journeyman.evals import paired_difference


def test_one_seed_is_the_paired_bootstrap():
    values = np.random.default_rng(0).choice([-0.5, 0.0, 0.25, 1.0], size=300)
    found, known = crossed_bootstrap([values], resamples=20_000), paired_difference(values, np.zeros(300), resamples=20_000)
    assert found.mean == pytest.approx(known.mean)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.006)
    assert (found.seeds, found.tasks) == (1, 300)


def test_variance_of_drawn_means():
    """Seeds alone: that of a mean of S draws, var(ddof=1) / S. Tasks alone: var / T, whatever the number of seeds."""
    of_seeds = np.array([[-0.2], [0.0], [0.1], [0.3]]).repeat(50, axis=1)
    assert means(of_seeds, 40_000, 0).var() == pytest.approx(np.var([-0.2, 0.0, 0.1, 0.3], ddof=1) / 4, rel=0.03)
    of_tasks = np.array([[-1.0, 0.0, 0.0, 1.0]]).repeat(3, axis=0)
    assert means(of_tasks, 40_000, 0).var() == pytest.approx(0.5 / 4, rel=0.03)
    both = of_seeds[:, :4] + of_tasks[:1]  # effects that add: so do the variances
    assert means(both, 40_000, 0).var() == pytest.approx(0.0433333 / 4 + 0.5 / 4, rel=0.03)


def test_few_seeds_widen():
    """Two seeds that differ, on tasks that all agree: t with one degree of freedom in place of the normal quantile."""
    found = crossed_bootstrap([[0.0] * 400, [0.02] * 400])
    assert found.mean == pytest.approx(0.01)
    assert found.low < -0.04
    assert found.high > 0.06


def test_variance_of_tasks_alone():
    """Seeds that agree bring no further tasks: 8 seeds give the interval of one, not one of 8 times as many tasks."""
    row = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], size=100)
    one, many = crossed_bootstrap([row]), crossed_bootstrap([row] * 8)
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.03)
    pool = np.concatenate([row, [1.0, -1.0]])
    assert one.high - one.low == pytest.approx(2 * stats.t.ppf(0.975, 101) * pool.std() / np.sqrt(102), rel=0.05)


def test_stretch_is_that_of_the_seeds_where_tasks_agree():
    pool = np.array([[0.0] * 50, [0.5] * 50])
    assert stretch(pool, 0.95) == pytest.approx(stats.t.ppf(0.975, 1) / stats.norm.ppf(0.975))
    assert stretch(pool[:1] + np.arange(50) / 50, 0.95) == pytest.approx(stats.t.ppf(0.975, 49) / stats.norm.ppf(0.975))


def test_pairing_matters():
    """Two systems on tasks from very easy to very hard, one better on each by a little: told apart only when paired."""
    rng = np.random.default_rng(2)
    hard = rng.uniform(0.1, 0.8, size=(3, 200))
    better = hard + 0.1
    paired = crossed_bootstrap(better - hard)
    unpaired = crossed_bootstrap(better - rng.permuted(hard, axis=1))
    assert paired.low > 0.05
    assert paired.wins > 0.999
    assert unpaired.high - unpaired.low > 2 * (paired.high - paired.low)


def test_wins():
    assert crossed_bootstrap(np.zeros((3, 40))).wins == pytest.approx(0.5, abs=0.02)
    down = crossed_bootstrap(np.full((3, 40), -0.5))
    assert down.wins < 0.001
    assert -1 <= down.low <= down.mean == -0.5 <= down.high < 0


def test_same_numbers_again():
    values = np.random.default_rng(3).uniform(-1, 1, size=(2, 30))
    assert crossed_bootstrap(values) == crossed_bootstrap(values)


@pytest.mark.parametrize("values", [[], [[]], [0.5], [[2.0]], [[float("nan")]]])
def test_refusals(values):
    with pytest.raises(ValueError, match=r"seeds x tasks|lie in"):
        crossed_bootstrap(values)
