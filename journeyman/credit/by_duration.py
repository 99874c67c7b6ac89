"""Slow actions count for more, as often as they are missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from journeyman.credit.group_relative import group_zscore
from journeyman.protocols import Credit, Render, Words
from journeyman.types import Attempt, Group, Lesson


@dataclass(eq=False)
class by_duration:
    """The inner credit's lessons with weight * dt / mean dt, dt = seconds that an attempt took, at most ``cap``; the mean is over
    all attempts of the step, of which it hears before credit is asked (``observe``).

    Only for asynchronous collection: there, in any stretch of time, an action that takes dt is seen 1 / dt as often as one that
    takes a second, and the weights undo that. In a synchronous step each attempt is seen once, whatever it took, and they would
    favour the slow. dt is the mark "seconds" of the answer's trace where the strategy timed its action, else the attempt's own.

    [S155] Yang, He-Yueya and Liang 2025, arXiv 2509.01684. ``cap`` is ours, for actions that ran into a time limit. Differs from
    the paper in that the advantages are the inner credit's (PPO's there).
    """

    inner: Credit = group_zscore()
    cap: float = 3600.0

    def __post_init__(self) -> None:
        if not self.cap > 0:
            raise ValueError(f"by_duration has cap={self.cap}, expected seconds above 0")
        self._mean = 0.0

    @property
    def needs(self) -> Words:
        return self.inner.needs

    @property
    def gives(self) -> Words:
        return self.inner.gives

    def observe(self, groups: Sequence[Group]) -> None:
        """Hear how long the attempts of a step took."""
        took = [self.seconds(a) for g in groups for a in g.attempts]
        self._mean = sum(took) / len(took) if took else 0.0

    def value(self) -> float:
        """The mean duration of the step's attempts in seconds."""
        return self._mean

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        made = self.inner(group, render)
        took = {a.id: self.seconds(a) for a in group.attempts}
        if made and not self._mean > 0:
            raise ValueError("by_duration knows no durations; call observe with the step's groups before it is asked for credit")
        if others := sorted({x.attempt for x in made} - took.keys()):
            raise ValueError(f"by_duration has lessons of {others[:3]}, which are no attempts; write an inner credit on attempts")
        return [replace(x, weight=x.weight * took[x.attempt] / self._mean) for x in made]

    def seconds(self, attempt: Attempt) -> float:
        trace = attempt.trace(attempt.answer.trace if attempt.answer else None)
        timed = trace.marks.get("seconds") if trace else None
        return min(self.cap, attempt.cost.seconds if timed is None else float(timed))

    def state_dict(self) -> dict[str, Any]:
        return {}  # heard anew at each step, before it is used

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._mean = 0.0
