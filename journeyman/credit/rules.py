"""Rules: scores (G) of siblings -> advantages (G). Plain arithmetic; what an abstention means is decided by who calls them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def centred(scores: Scores) -> Scores:
    """R - mean of the group (exactly 0 where all are equal)."""
    return np.zeros_like(scores) if np.ptp(scores) == 0 else scores - scores.mean()


def zscores(scores: Scores, eps: float = 1e-6, ddof: int = 1) -> Scores:
    """(R - mean) / (std + eps), the std with ``ddof`` (1: unbiased); 0 where all are equal."""
    return centred(scores) if np.ptp(scores) == 0 else centred(scores) / (scores.std(ddof=ddof) + eps)


def against_others(scores: Scores) -> Scores:
    """R - mean of the other siblings = G / (G - 1) * (R - mean)."""
    return centred(scores) * len(scores) / (len(scores) - 1)
