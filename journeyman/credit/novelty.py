"""How unlike its siblings an answer is, by hidden states: elliptical novelty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]  # (G, D)
Numbers = NDArray[np.float64]  # (G)


@dataclass(frozen=True)
class elliptical:
    """novelty_i = h_i^T S^-1 h_i, S = lam I + sum over j of h_j h_j^T, for vectors h (G, D) of a group: the leverage of i.

    ``apart``: the sum is over the others only, which is leverage / (1 - leverage). ``centred``: of h - mean over the group.

    [S121] Tuyls et al. 2025, arXiv 2510.11686 (lam 0.01). The paper has the leverage; its released run has both options on. With
    fewer answers than dimensions all leverages are near 1, and ``apart`` is what tells answers from each other.
    """

    lam: float = 0.01
    apart: bool = False
    centred: bool = False

    def __post_init__(self) -> None:
        if not self.lam > 0:
            raise ValueError(f"elliptical has lam={self.lam}, expected a number above 0")

    def __call__(self, h: Vectors) -> Numbers:
        h = np.asarray(h, dtype=np.float64)  # the inverse needs the digits
        h = h - h.mean(axis=0) if self.centred else h
        products = h @ h.T  # (G, G): h S^-1 h^T = K (lam I + K)^-1 with K = h h^T, whatever D is
        leverage: Numbers = np.diagonal(np.linalg.solve(products + self.lam * np.eye(len(h)), products)).astype(np.float64)
        return leverage / (1 - leverage) if self.apart else leverage


def projected(h: Vectors, width: int, seed: str) -> Vectors:
    """The vectors (G, D) times a sparse random matrix (D, width), which keeps their distances roughly; as they are where D is at
    most ``width``. Entries are +-sqrt(s / width), each with probability 1 / 2s, else 0, s = sqrt(D): Li, Hastie and Church 2006."""
    size = h.shape[1]
    if size <= width:
        return h
    rng = np.random.default_rng(list(seed.encode()))
    sparse = np.sqrt(size)
    draws = rng.random((size, width))
    signs = np.where(draws < 0.5 / sparse, 1.0, np.where(draws < 1 / sparse, -1.0, 0.0))
    return h @ signs * np.sqrt(sparse / width)


def unlike(h: Vectors, keep: int, first: int, lam: float = 0.01) -> list[int]:
    """Which ``keep`` of the vectors (G, D) to take, in order: ``first``, then each time the one of largest h^T S h (the earlier on
    ties), S = I / lam before the first, S <- S - (S h)(S h)^T / (1 + h^T S h) with each that is taken. [S121]."""
    h = np.asarray(h, dtype=np.float64)
    inverse, taken = np.eye(h.shape[1]) / lam, [first]
    while len(taken) < min(keep, len(h)):
        side = inverse @ h[taken[-1]]
        inverse = inverse - np.outer(side, side) / (1 + h[taken[-1]] @ side)
        novelty = np.einsum("gd,de,ge->g", h, inverse, h)
        novelty[taken] = -np.inf
        taken.append(int(novelty.argmax()))
    return taken
