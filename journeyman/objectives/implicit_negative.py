"""NFT: what a supervised loss on wrong answers amounts to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.protocols import Schedule, value, words


@dataclass(frozen=True)
class implicit_negative:
    """NFT as a clip: right answers are imitated, wrong ones are learned by the likelihood of the implicit negative policy.

    With r the share of a group's answers that are right, and pi_old = r pi_right + (1 - r) pi_wrong, the loss of a token is
    -w log ratio (right answer) and -w log max(x, floor), x = (1 - r ratio) / (1 - r) (wrong), w = 1 - r; the maximum passes
    its gradient straight through. Hence multiplier * ratio * A with multiplier = 1 / ratio where A > 0 and
    1 / max(x, floor) where A < 0, for A = R - mean of scores 0 and 1 (``group_mean``), which is w for a right answer and -r
    for a wrong one. r is read off A and clamped to [least, 1 - least].

    [S158] Chen et al. 2025, arXiv 2505.18116 (floor 1, least 0.02, groups all right or all wrong left out; with
    ``fixed_length``). On policy it is Dr. GRPO. Differs from the paper in that the other weights of its code
    (w = sqrt((1 - r) / r) and w = 1) are left out: r could not be read off A then.
    """

    floor: float | Schedule = 1.0
    least: float = 0.02
    needs = words()
    gives = words()

    def __post_init__(self) -> None:
        if (isinstance(self.floor, int | float) and not self.floor > 0) or not 0 < self.least < 0.5:
            raise ValueError(
                f"implicit_negative has floor={self.floor}, least={self.least}; expected floor above 0 and least in (0, 0.5)"
            )

    def __call__(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        r = (-advantage).to(ratio.dtype).clamp(self.least, 1 - self.least)
        x = (1 - r * ratio) / (1 - r)
        return torch.where(advantage > 0, 1 / ratio, 1 / x.clamp(min=value(self.floor)))
