"""Intervals for accuracies, clustered by task, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class Difference(Estimate):
    """A paired difference a - b with its 95 % interval, over ``n_tasks`` tasks; ``p`` is the two-sided share of
    resamples on the other side of zero (a bootstrap p-value)."""

    p: float
    n_tasks: int


def interval_clustered(means: Sequence[float], level: float = 0.95) -> Estimate:
    """The mean accuracy over tasks and its interval for new tasks of the same kind, each task being one cluster.

    ``means`` holds one value in [0, 1] for each of n tasks: its share of correct samples, or its pass@k.

    p = mean(means); design = var(means) / (p (1 - p)), which is 1 when the samples of a task all agree
    h = min(tasks above 0, tasks below 1); design' = (h design + 2) / (h + 2), so that few or no successes (or failures)
    are not taken for many independent ones; effective = n / design'
    Wilson's interval of p for ``effective`` draws, with the t quantile of n - 1 degrees of freedom for z

    Samples of one task are not independent; taking them so makes intervals too narrow (Miller 2024, arXiv 2411.00640).
    A normal or a bootstrap interval has no width at 0/n (Bowyer et al. 2025, arXiv 2503.01747): Wilson's (1927) has, and
    stays inside [0, 1]. Effective sample size with a t quantile: Korn and Graubard 1998, Survey Methodology 24. Differs
    from the papers in joining the two and in design'. Over 192 simulated settings (5 to 200 tasks, 1 to 32 samples, rates
    .02 to .5) it covers 93 % or more where design alone falls to 80 %; tests/evals/test_intervals.py repeats part of it.
    With one task nothing is known about others: the interval is [0, 1].
    """
    values = np.asarray(means, dtype=float)
    n = len(values)
    if n == 0:
        raise ValueError("an interval needs at least one task, found none")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"means lie in [0, 1], found {values.min()} to {values.max()}")
    p = float(values.mean())
    if n == 1:
        return Estimate(p, 0.0, 1.0)
    h = int(min((values > 0).sum(), (values < 1).sum()))
    design = float(values.var(ddof=1)) / (p * (1 - p)) if h else 1.0
    effective = n / ((h * design + 2) / (h + 2))
    q = float(stats.t.ppf((1 + level) / 2, n - 1))
    middle = (p + q * q / (2 * effective)) / (1 + q * q / effective)
    half = q / (1 + q * q / effective) * sqrt(p * (1 - p) / effective + q * q / (4 * effective * effective))
    return Estimate(p, min(max(0.0, middle - half), p), max(min(1.0, middle + half), p))


def paired_difference(
    a: Sequence[float], b: Sequence[float], resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> Difference:
    """mean(a - b) over tasks that both attempted, with a paired bootstrap interval; tasks are resampled, never samples.

    ``a[i]`` and ``b[i]`` in [0, 1] are two systems' means on task i. The mean is of the tasks; what is resampled are the
    n differences and two pseudo-tasks with differences +1 and -1, so that n equal differences do not give an interval
    of no width (50 agreements do not prove equality); they add about 2 / n^2 to the variance of the mean.

    Paired bootstrap: Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation". The pseudo-tasks
    follow Agresti and Min 2005 (Statistics in Medicine 24), who add two observations to matched pairs. Differs from the
    papers in joining the two.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"a paired difference is over the same tasks in the same order: found {len(a)} and {len(b)} values")
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    if not (np.abs(difference) <= 1).all():
        raise ValueError(f"means lie in [0, 1], found differences from {difference.min()} to {difference.max()}")
    pool = np.concatenate([difference, [1.0, -1.0]])
    rng = np.random.default_rng(seed)
    rows = max(1, 1_000_000 // len(pool))  # a block of resamples, in bounded memory
    blocks = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    drawn = np.concatenate([rng.choice(pool, size=(block, len(pool))).mean(axis=1) for block in blocks])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    mean = float(difference.mean())
    p = min(1.0, 2 * min(float((drawn <= 0).mean()), float((drawn >= 0).mean())))
    return Difference(mean, min(float(low), mean), max(float(high), mean), max(p, 1 / resamples), len(difference))
