"""pass@k, unbiased."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> NDArray[np.float64]:
    """The chance that at least one of k draws is correct, estimated from n draws of which c were (broadcast; any shape).

    pass_at_k = 1 - C(n - c, k) / C(n, k) = 1 - prod_{j < k} (n - c - j) / (n - j), which is 1 when n - c < k

    Chen et al. 2021, "Evaluating Large Language Models Trained on Code", arXiv 2107.03374. Unbiased for every true rate;
    1 - (1 - c/n)^k is too low. ValueError where k > n, for which no unbiased estimate exists.
    """
    n, c = np.broadcast_arrays(np.asarray(n), np.asarray(c))
    if k < 1:
        raise ValueError(f"pass@{k}: k is at least 1")
    if n.size and n.min() < k:
        raise ValueError(f"pass@{k} needs at least {k} samples of every task, found {n.min()}; sample more or write a smaller k")
    if n.size and (c.min() < 0 or (c > n).any()):
        raise ValueError("pass@k: found more correct samples than samples, or a negative count")
    missed = np.ones(n.shape)
    for j in range(k):  # exact zeros once n - c - j reaches 0, so no overflow and no cancellation
        missed *= np.maximum(n - c - j, 0) / (n - j)
    return 1.0 - missed
