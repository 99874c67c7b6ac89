"""Objectives: ``(batch) -> (loss, metrics)``, and the factors that ``surrogate`` multiplies.

Metrics are tensors [sum, count] (2), which add up over micro-batches; the learner divides at the end.
"""

from journeyman.objectives.agreement import agreement
from journeyman.objectives.anchor_kl import anchor_kl
from journeyman.objectives.clips import cap, no_clip, ppo_clip
from journeyman.objectives.demonstrated import demonstrated
from journeyman.objectives.dpo import dpo
from journeyman.objectives.drift import drift_penalty
from journeyman.objectives.entropy import entropy_bonus
from journeyman.objectives.entropy_clip import entropy_clip
from journeyman.objectives.implicit_negative import implicit_negative
from journeyman.objectives.importance_kl import importance_kl
from journeyman.objectives.ipo import ipo
from journeyman.objectives.kl import k1, k2, k3, kl_penalty
from journeyman.objectives.kto import kto
from journeyman.objectives.nash import nash
from journeyman.objectives.nll import nll
from journeyman.objectives.one_token import one_token
from journeyman.objectives.orpo import chosen_nll, orpo
from journeyman.objectives.plus import plus, weighted
from journeyman.objectives.ratios import on_policy, over_behaviour, over_old, probability, times
from journeyman.objectives.reducers import fixed_length, sequence_mean, sequence_sum, token_mean
from journeyman.objectives.sequence_ratio import sequence_ratio
from journeyman.objectives.simpo import simpo
from journeyman.objectives.soft_gate import soft_gate
from journeyman.objectives.step_dpo import step_dpo
from journeyman.objectives.sums import mix
from journeyman.objectives.surrogate import surrogate
from journeyman.objectives.trajectory_kl import trajectory_kl
from journeyman.objectives.truncated import truncated
from journeyman.objectives.value_loss import value_loss

__all__ = [
    "agreement",
    "anchor_kl",
    "cap",
    "chosen_nll",
    "demonstrated",
    "dpo",
    "drift_penalty",
    "entropy_bonus",
    "entropy_clip",
    "fixed_length",
    "implicit_negative",
    "importance_kl",
    "ipo",
    "k1",
    "k2",
    "k3",
    "kl_penalty",
    "kto",
    "mix",
    "nash",
    "nll",
    "no_clip",
    "on_policy",
    "one_token",
    "orpo",
    "over_behaviour",
    "over_old",
    "plus",
    "ppo_clip",
    "probability",
    "sequence_mean",
    "sequence_ratio",
    "sequence_sum",
    "simpo",
    "soft_gate",
    "step_dpo",
    "surrogate",
    "times",
    "token_mean",
    "trajectory_kl",
    "truncated",
    "value_loss",
    "weighted",
]
