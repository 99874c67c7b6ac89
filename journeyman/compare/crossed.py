"""The bootstrap of a mean over seeds and tasks, both of which are samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean difference with its interval; ``wins`` is the share of draws above zero, ties counting half."""

    mean: float
    low: float
    high: float
    wins: float
    seeds: int
    tasks: int


def crossed_bootstrap(values: Sequence[Sequence[float]], resamples: int = 10_000, level: float = 0.95, seed: int = 0) -> Interval:
    """The mean of ``values`` (seeds x tasks; paired differences in [-1, 1]) with an interval for new seeds and new tasks.

    draw = mean over drawn seeds, over drawn tasks: S - 1 of the S seeds with replacement, and T + 2 of T tasks and two
    pseudo-tasks with differences +1 and -1, the same tasks for all seeds of a draw
    draws are stretched about their expectation by t(df) / z, the quantiles of ``level``, where
    of_seeds = var(means of seeds) / S, of_tasks = var(means of tasks) / (T + 2)
    df = (of_seeds + of_tasks)^2 / (of_seeds^2 / (S - 1) + of_tasks^2 / (T + 1))

    Every seed sits the same tasks, so seeds and tasks are crossed: rows and columns are drawn separately, as Owen 2007 ("The
    pigeonhole bootstrap", Annals of Applied Statistics 1) does. Drawing tasks anew within each seed would take T tasks for S x T
    and make the intervals too narrow. Differs from the paper for few seeds: S - 1 draws make the variance of the
    seeds' mean unbiased (Rao and Wu 1988), df is Welch and Satterthwaite's; the pseudo-tasks are those of
    ``evals.paired_difference``, to which this comes down where there is one seed: then nothing is known of other seeds. In a
    simulation with 2, 3 and 5 seeds, 50 and 200 tasks of 4 attempts and effects of seeds of standard deviation 0, .02 and .06
    the interval held the truth in 92 to 100 % of 300 trials of each, without the stretch in 88 to 100 %.
    """
    found = np.asarray(values, dtype=float)
    if found.ndim != 2 or not found.size:
        raise ValueError(f"values are seeds x tasks, at least one of each: found the shape {found.shape}")
    if not (np.abs(found) <= 1).all():
        raise ValueError(f"differences of shares lie in [-1, 1], found {found.min()} to {found.max()}")
    (seeds, tasks), mean = found.shape, float(found.mean())
    pool = np.hstack([found, np.ones((seeds, 1)), -np.ones((seeds, 1))])
    draws, middle = means(pool, resamples, seed), float(pool.mean())
    draws = middle + stretch(pool, level) * (draws - middle)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]).clip(-1, 1)
    wins = float((draws > 0).mean() + (draws == 0).mean() / 2)
    return Interval(mean, min(float(low), mean), max(float(high), mean), wins, seeds, tasks)


def means(pool: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The mean of ``pool`` (seeds x tasks) over drawn seeds and drawn tasks, ``resamples`` times."""
    rng = np.random.default_rng(seed)
    seeds, size = pool.shape
    picked = max(1, seeds - 1)
    rows = max(1, 1_000_000 // size)  # a block of resamples, in bounded memory
    blocks = []
    for start in range(0, resamples, rows):
        block = min(rows, resamples - start)
        of_seed = rng.multinomial(picked, np.full(seeds, 1 / seeds), size=block) / picked
        of_task = rng.multinomial(size, np.full(size, 1 / size), size=block) / size
        blocks.append(((of_seed @ pool) * of_task).sum(axis=1))
    return np.concatenate(blocks)


def stretch(pool: np.ndarray, level: float) -> float:
    """t(df) / z at the level's quantile: how much wider few seeds make an interval."""
    seeds, size = pool.shape
    of_seeds = pool.mean(axis=1).var(ddof=1) / seeds if seeds > 1 else 0.0
    of_tasks = pool.mean(axis=0).var(ddof=1) / size
    df = (of_seeds + of_tasks) ** 2 / (of_seeds**2 / max(1, seeds - 1) + of_tasks**2 / (size - 1))
    return float(stats.t.ppf((1 + level) / 2, df) / stats.norm.ppf((1 + level) / 2))
