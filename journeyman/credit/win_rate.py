"""Each sibling against the others: how often it wins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from journeyman.credit.on_sampled import on_sampled
from journeyman.credit.rules import Scores
from journeyman.credit.sampled import Shaper
from journeyman.protocols import Render
from journeyman.types import Group, Lesson


def wins(scores: Scores) -> Scores:
    """Mean over the other siblings of P(i beats j) - 1/2, where P is 1, 1/2 or 0 as R_i > R_j, R_i = R_j, R_i < R_j."""
    return np.sign(scores[:, None] - scores[None, :]).sum(1) / 2 / (len(scores) - 1)


@dataclass(frozen=True)
class win_rate:
    """advantage_i = mean over the other siblings j of P(y_i beats y_j) - 1/2: 1/2 for an answer that beats all, adding to 0.

    The reward of the preference game of [S177] Nash-MP, Tiapkin et al. 2025, arXiv 2505.19731, with the siblings as the
    opponent's answers. Only the order of scores counts. Differs from the paper in that a comparison of two scores stands for the
    judge of pairs, so that the preference is never cyclic.
    """

    shaper: Shaper | None = None
    every_trace: bool = False
    needs = on_sampled.needs
    gives = on_sampled.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        return on_sampled(wins, self.shaper, self.every_trace)(group, render)
