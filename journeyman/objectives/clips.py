"""Clips: which tokens may contribute, as a multiplier (B, T) of the importance ratio."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.objectives.common import at_least
from journeyman.protocols import Schedule, declare, value, words


@declare()
def no_clip(ratio: Tensor, advantage: Tensor) -> Tensor:
    """Every token contributes: multiplier = 1."""
    return torch.ones_like(ratio)


@dataclass(frozen=True)
class ppo_clip:
    """PPO's clip as a mask: 0 where min(ratio * A, clip(ratio, 1 - low, 1 + high) * A) is flat in ratio, else 1.

    multiplier = 0 where A > 0 and ratio > 1 + high, where A < 0 and ratio < 1 - low, and (dual clip) where A < 0 and
    ratio > dual. PPO: Schulman et al. 2017, arXiv 1707.06347; dual clip (its paper: 3): Ye et al. 2019, arXiv 1912.09729;
    high > low ("clip higher", 0.28): DAPO, Yu et al. 2025, arXiv 2503.14476.
    """

    low: float | Schedule = 0.2
    high: float | Schedule = 0.2
    dual: float | None = None
    needs = words()
    gives = words()

    def __post_init__(self) -> None:
        at_least("ppo_clip", "low", self.low, 0)
        at_least("ppo_clip", "high", self.high, 0)
        at_least("ppo_clip", "dual", self.dual, 1)

    def __call__(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        flat = (advantage > 0) & (ratio > 1 + value(self.high)) | (advantage < 0) & (ratio < 1 - value(self.low))
        if self.dual is not None:
            flat = flat | (advantage < 0) & (ratio > self.dual)
        return (~flat).to(ratio.dtype)


@dataclass(frozen=True)
class cap:
    """CISPO: cap the importance weight, never drop a token's gradient: multiplier * ratio = min(ratio, ratio_max).

    MiniMax-M1 (2025), arXiv 2506.13585. ``ratio_max`` is the absolute cap (1 + epsilon_high in the paper's symbols).
    Differs from the paper in having no lower bound, which the paper sets so low that it has no effect.
    """

    ratio_max: float | Schedule = 1.28
    needs = words()
    gives = words()

    def __post_init__(self) -> None:
        at_least("cap", "ratio_max", self.ratio_max, 1)

    def __call__(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        return ratio.clamp(max=value(self.ratio_max)) / ratio
