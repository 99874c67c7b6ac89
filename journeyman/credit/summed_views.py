"""Several judges of one answer, each heard at its own scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from journeyman.credit.on_sampled import on_sampled
from journeyman.credit.rules import zscores
from journeyman.credit.sampled import answering, lesson
from journeyman.protocols import Render
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class summed_views:
    """advantage = sum over views of (v - mean) / (std + eps) within the group, clamped to [-limit, limit] after the sum.

    A view is a component of the attempts' judgements (another verifier, another budget for finishing the answer): normalised
    before they are added, no view drowns the others. std with ddof 0. The score decides only which attempts were checked;
    ValueError where a checked one lacks a view.

    The multi-granularity advantage of [S173] Zhou et al. 2025, arXiv 2510.01982 (limit 5), whose views are denoising
    granularities of a flow model. Differs from the paper in everything else: views of a text are our extrapolation.
    """

    views: tuple[str, ...]
    limit: float = 5.0
    eps: float = 1e-6
    needs = on_sampled.needs
    gives = on_sampled.gives

    def __post_init__(self) -> None:
        if not self.views or isinstance(self.views, str) or not self.limit > 0:
            raise ValueError(
                f"summed_views has views={self.views!r}, limit={self.limit}; expected names of components such as "
                "views=('accuracy', 'format') and a limit above 0"
            )

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        judged = [(a, j) for a in group.attempts if (j := group.judgement(a)) is not None and j.score is not None]
        if len(judged) < 2:
            return []
        for a, j in judged:
            if missing := [v for v in self.views if v not in j.components]:
                raise ValueError(
                    f"the judgement of attempt {a.id!r} has the components {sorted(j.components)}, not {missing}; "
                    "write a feedback that gives them"
                )
        columns = np.array([[j.components[v] for _, j in judged] for v in self.views], dtype=np.float64)  # (views, G)
        total = sum(zscores(c, self.eps, ddof=0) for c in columns)
        advantages = np.clip(total, -self.limit, self.limit).tolist()
        return [
            lesson(group, a, *one, advantage) for (a, _), advantage in zip(judged, advantages, strict=True) for one in answering(a)
        ]
