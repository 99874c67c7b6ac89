"""HAPO: clip range and size of an update depend on how uncertain the policy was at the token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import Ratio, at_least, stream
from journeyman.objectives.ratios import over_old
from journeyman.protocols import Words, needs_of, words


@dataclass(frozen=True)
class entropy_clip:
    """HAPO's parts 3 and 4 as one multiplier: mask * (1 + beta * heat where redistributed, else 1), heat in [-1, 1].

    Redistributed: heat > 0 and ratio outside (1 - low / 2, 1 + high / 2), or heat <= 0 and ratio inside. mask is that of
    ``ppo_clip`` with high * (1 + alpha * heat) where heat > 0 and low * (1 - alpha * heat) where heat <= 0, so that certain
    tokens may become much less likely and uncertain ones more likely, and with ``dual`` for A < 0. A ``correction`` of
    surrogate(no_clip, ratio): a clip sees no streams. ``with_heat`` gives ``heat``.

    [S201] Liu et al. 2025, arXiv 2509.16591 (low = high = 0.2, alpha = beta = 1, dual 10). Differs from the paper's released
    code in the sign of heat for certain tokens, see ``with_heat``.
    """

    low: float = 0.2
    high: float = 0.2
    alpha: float = 1.0
    beta: float = 1.0
    dual: float = 10.0
    ratio: Ratio = over_old
    gives = words()

    def __post_init__(self) -> None:
        for name, least in (("low", 0), ("high", 0), ("alpha", 0), ("beta", 0), ("dual", 1)):
            at_least("entropy_clip", name, getattr(self, name), least)

    @property
    def needs(self) -> Words:
        return words("heat") | needs_of(self.ratio)

    def __call__(self, batch: Batch) -> Tensor:
        ratio, heat, a = self.ratio(batch), stream(batch, "heat"), batch.advantage
        low = self.low * (1 - self.alpha * heat.clamp(max=0))
        high = self.high * (1 + self.alpha * heat.clamp(min=0))
        flat = (a > 0) & (ratio > 1 + high) | (a < 0) & ((ratio < 1 - low) | (ratio > self.dual))
        inside = (ratio > 1 - self.low / 2) & (ratio < 1 + self.high / 2)
        moved = torch.where(inside == (heat <= 0), 1 + self.beta * heat, 1.0)
        return torch.where(flat, 0.0, moved).to(ratio.dtype)
