"""Advantages of siblings relative to each other, on the tokens that were sampled (see ``on_sampled``)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from journeyman.credit.on_sampled import on_sampled
from journeyman.credit.rules import against_others, centred, zscores
from journeyman.credit.sampled import Shaper
from journeyman.protocols import Render
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class group_mean:
    """advantage = R - mean of the group. Dr. GRPO, Liu et al. 2025, arXiv 2503.20783."""

    shaper: Shaper | None = None
    every_trace: bool = False
    needs = on_sampled.needs
    gives = on_sampled.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        return on_sampled(centred, self.shaper, self.every_trace)(group, render)


@dataclass(frozen=True)
class group_zscore:
    """advantage = (R - mean) / (std + eps) of the group. GRPO (DeepSeekMath), Shao et al. 2024, arXiv 2402.03300.

    ``ddof`` 1 (the unbiased std) and ``eps`` 1e-6 as in verl; the paper gives neither.
    """

    eps: float = 1e-6
    ddof: int = 1
    shaper: Shaper | None = None
    every_trace: bool = False
    needs = on_sampled.needs
    gives = on_sampled.gives

    def __post_init__(self) -> None:
        if self.ddof not in (0, 1) or not self.eps >= 0:
            raise ValueError(f"group_zscore has ddof={self.ddof}, eps={self.eps}; expected ddof 0 or 1 and eps of at least 0")

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        rule = partial(zscores, eps=self.eps, ddof=self.ddof)
        return on_sampled(rule, self.shaper, self.every_trace)(group, render)


@dataclass(frozen=True)
class leave_one_out:
    """advantage = R - mean of the other siblings. RLOO, Ahmadian et al. 2024, arXiv 2402.14740.

    Differs from the paper in that no KL term is part of R (add ``kl_penalty`` to the objective).
    """

    shaper: Shaper | None = None
    every_trace: bool = False
    needs = on_sampled.needs
    gives = on_sampled.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        return on_sampled(against_others, self.shaper, self.every_trace)(group, render)
