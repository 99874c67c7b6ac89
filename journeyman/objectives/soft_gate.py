"""SAPO's clip: tokens fade out smoothly as the policy moves, in place of being cut off."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.protocols import Schedule, value, words


@dataclass(frozen=True)
class soft_gate:
    """SAPO: multiplier = 4 * s * (1 - s), s = sigmoid(tau * (ratio - 1)), tau = ``positive`` where A > 0, else ``negative``.

    It is the slope in ratio of the paper's gain 4 / tau * s * A: 1 where ratio = 1, falling to 0 on both sides. The larger
    tau, the faster. Gao et al. 2025, arXiv 2511.20347 (1.0 and 1.05; with ``sequence_mean``). There is no method card: the
    formula was compared with the documentation of ms-swift and Trinity-RFT; the values are the defaults of TRL too.
    """

    positive: float | Schedule = 1.0
    negative: float | Schedule = 1.05
    needs = words()
    gives = words()

    def __post_init__(self) -> None:
        for name, found in (("positive", self.positive), ("negative", self.negative)):
            if isinstance(found, int | float) and not found > 0:
                raise ValueError(f"soft_gate has {name}={found}, expected a number above 0")

    def __call__(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        x = torch.where(advantage > 0, value(self.positive) * (ratio - 1), value(self.negative) * (ratio - 1))
        return 4 * x.sigmoid() * (-x).sigmoid()  # s * (1 - s) without the cancellation near s = 1
