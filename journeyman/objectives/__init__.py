"""Objectives: ``(batch) -> (loss, metrics)``, and the factors that ``surrogate`` multiplies.

Metrics are tensors [sum, count] (2), which add up over micro-batches; the learner divides at the end.
"""

from journeyman.objectives.clips import cap, no_clip, ppo_clip
from journeyman.objectives.entropy import entropy_bonus
from journeyman.objectives.kl import k1, k2, k3, kl_penalty
from journeyman.objectives.nll import nll
from journeyman.objectives.ratios import on_policy, over_behaviour, over_old, probability, sequence_ratio, times, truncated
from journeyman.objectives.reducers import fixed_length, sequence_mean, sequence_sum, token_mean
from journeyman.objectives.sums import mix, plus, weighted
from journeyman.objectives.surrogate import surrogate

__all__ = [
    "cap",
    "entropy_bonus",
    "fixed_length",
    "k1",
    "k2",
    "k3",
    "kl_penalty",
    "mix",
    "nll",
    "no_clip",
    "on_policy",
    "over_behaviour",
    "over_old",
    "plus",
    "ppo_clip",
    "probability",
    "sequence_mean",
    "sequence_ratio",
    "sequence_sum",
    "surrogate",
    "times",
    "token_mean",
    "truncated",
    "weighted",
]
