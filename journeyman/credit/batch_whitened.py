"""REINFORCE++: advantages normalised over the whole step, not within a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from journeyman.credit.rules import Scores
from journeyman.credit.sampled import Drawn, Rule, Shaper, answering, lesson
from journeyman.protocols import Render, words
from journeyman.types import Attempt, Group, Lesson, Trace

Row = tuple[Attempt, Trace, float, Drawn, float]  # attempt, trace, temperature, tokens to learn, their value


def raw(scores: Scores) -> Scores:
    """The scores as they are."""
    return scores


class batch_whitened:
    """advantage = (rule(R) - mean) / sqrt(var + 1e-8), mean and variance (``ddof`` 1) over all tokens of the step to be learned.

    REINFORCE++, Hu et al. 2025, arXiv 2501.03262: rule ``raw``; its variant with baseline: rule ``centred`` (R - mean of the
    group). A group may have one sibling. Mean and variance move from step to step, so this credit is also a ``Schedule``: the
    run shows it all groups of a step before it asks for their lessons, and checkpoints it; ``value`` is the std.

    Differs from the paper in that the token KL is no part of R (add ``kl_penalty`` with ``k2`` to the objective, as its
    variant with baseline does), and in that groups a curriculum did not admit count in mean and variance.
    """

    needs = words("score", "tokens")
    gives = words("lessons", "advantage", "behaviour_logp", "term.rl")

    def __init__(self, rule: Rule = raw, shaper: Shaper | None = None, ddof: int = 1) -> None:
        if ddof not in (0, 1):
            raise ValueError(f"batch_whitened has ddof={ddof}, expected 0 or 1")
        self.rule, self.shaper, self.ddof = rule, shaper, ddof
        self._mean: float | None = None  # None before the first step with a score
        self._var = 0.0

    def rows(self, group: Group) -> list[Row]:
        """What the checked attempts of a group have to learn, each with rule(score)."""
        judged = [(a, s) for a, s in zip(group.attempts, group.scores(), strict=True) if s is not None]
        if not judged:
            return []
        values = self.rule(np.array([s + (self.shaper(a) if self.shaper else 0.0) for a, s in judged], dtype=np.float64))
        return [(a, *kept, v) for (a, _), v in zip(judged, values.tolist(), strict=True) for kept in answering(a)]

    def observe(self, groups: Sequence[Group]) -> None:
        """Take mean and variance of this step; a step without a score leaves those of the last."""
        found = [(value, sum(drawn)) for g in groups for *_, drawn, value in self.rows(g)]
        if found:
            values = np.repeat(np.array([v for v, _ in found]), [n for _, n in found])
            same = np.ptp(values) == 0  # exactly: rounding in the mean must not become an advantage
            self._mean = float(values[0] if same else values.mean())
            self._var = 0.0 if same else float(values.var(ddof=self.ddof))

    def value(self) -> float:
        return self._var**0.5

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        if self._mean is None:
            raise ValueError("batch_whitened has seen no step; call observe(all groups of the step) first, as the loop does")
        scale = (self._var + 1e-8) ** 0.5
        return [
            lesson(group, attempt, trace, temperature, drawn, (value - self._mean) / scale)
            for attempt, trace, temperature, drawn, value in self.rows(group)
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self._mean, "var": self._var}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._mean, self._var = state["mean"], state["var"]
