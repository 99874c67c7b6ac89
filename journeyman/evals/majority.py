"""maj@k: how often the most frequent of k answers is correct."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import comb

import numpy as np

EXACT = 1000  # samples of a task up to which every binomial coefficient fits a float64


def maj_at_k(answers: Sequence[Hashable | None], correct: Sequence[bool], k: int) -> float:
    """The expected correctness of the majority among k of n answers, over all C(n, k) subsets, exactly.

    ``answers`` are canonical values (equal means the same vote); None casts no vote. A tie is split: each of the j most
    frequent values wins with probability 1/j. A subset without any vote is not correct. Where feedback disagreed with
    itself on one value, that value counts as the mean of its verdicts.

    maj_at_k = sum_v right_v sum_t C(m_v, t) sum_j W_v(t, j) / (j + 1) / C(n, k)
    with m_v samples of value v, and W_v(t, j) the number of ways to draw the other k - t samples so that no other value
    is drawn more than t times and j of them exactly t times (a product of polynomials, one for each value).

    Majority voting is self-consistency (Wang et al. 2022, arXiv 2203.11171). Differs from the paper in taking the
    expectation over subsets, where the paper averages a few random runs.
    """
    n = len(answers)
    if len(correct) != n:
        raise ValueError(f"maj@{k}: found {n} answers and {len(correct)} verdicts")
    if not 1 <= k <= n:
        raise ValueError(f"maj@{k} needs k from 1 to the number of samples, found {n} samples; sample more or write a smaller k")
    if n > EXACT:
        raise ValueError(f"maj@{k} is computed exactly for up to {EXACT} samples of a task, found {n}; pass the first {EXACT}")
    verdicts: dict[Hashable, list[bool]] = {}
    for answer, right in zip(answers, correct, strict=True):
        if answer is not None:
            verdicts.setdefault(answer, []).append(bool(right))
    sizes = {value: len(found) for value, found in verdicts.items()}
    blanks = n - sum(sizes.values())
    total = 0.0
    for value, found in verdicts.items():
        if any(found):
            others = [size for other, size in sizes.items() if other != value]
            total += _wins(len(found), others, blanks, k) / comb(n, k) * sum(found) / len(found)
    return min(total, 1.0)


def _wins(own: int, others: list[int], blanks: int, k: int) -> float:
    """Subsets of size k in which a value of ``own`` samples wins, ties counted by share."""
    total = 0.0
    for t in range(1, min(own, k) + 1):
        rest = k - t
        ways = np.zeros((rest // t + 1, rest + 1))  # [j values drawn exactly t times, r samples drawn]
        ways[0] = [float(comb(blanks, r)) for r in range(rest + 1)]
        for size in others:
            drawn = ways.copy()  # this value not drawn
            for count in range(1, min(size, t - 1, rest) + 1):
                drawn[:, count:] += comb(size, count) * ways[:, : rest + 1 - count]
            if size >= t and t <= rest:
                drawn[1:, t:] += comb(size, t) * ways[:-1, : rest + 1 - t]
            ways = drawn
        total += comb(own, t) * float((ways[:, rest] / np.arange(1, len(ways) + 1)).sum())
    return total
