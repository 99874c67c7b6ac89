"""Generalised advantage estimation: from rewards and values to advantages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from journeyman.credit.rules import Scores


def gae(
    rewards: Sequence[float] | Scores, values: Sequence[float] | Scores, drawn: Sequence[bool], gamma: float, lam: float
) -> tuple[Scores, Scores]:
    """(A, returns), both (L): A_t = sum over l of (gamma * lam)^l * delta_{t+l}, delta_t = r_t + gamma * V_{t+1} - V_t, and
    returns_t = A_t + V_t, at the tokens drawn; 0 elsewhere.

    ``values[t]`` is V of the state in which token t is drawn. t + 1 is the next token drawn: those of others between them
    (questions, observations) are passed over, and so is what stands at them. After the last one V = 0.
    Schulman et al. 2015, arXiv 1506.02438.
    """
    advantages, returns = np.zeros(len(drawn)), np.zeros(len(drawn))
    after = next_value = 0.0
    for t in range(len(drawn) - 1, -1, -1):
        if drawn[t]:
            after = rewards[t] + gamma * next_value - values[t] + gamma * lam * after
            next_value = values[t]
            advantages[t], returns[t] = after, after + values[t]
    return advantages, returns
