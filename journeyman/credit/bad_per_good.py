"""A weight of good answers that keeps good and bad ones in balance as a policy gets better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from journeyman.protocols import words
from journeyman.types import Group


class bad_per_good:
    """A schedule: ``times`` * bad answers / good answers of the step just sampled, between 1 and ``most``; good are those with
    a score of at least ``threshold``, and a step without a checked answer changes nothing. 1 at the start.

    ``kto(desirable=bad_per_good())`` gives the good answers of a step as much weight as the bad ones, which is the lower end
    of what KTO asks for (Ethayarajh et al. 2024, arXiv 2402.01306: desirable * good / (undesirable * bad) between 1 and
    4/3; ``times`` is that number). Differs from the paper, whose weights are of a dataset and fixed, in following the policy,
    and in that it never goes below 1: once most answers are good, a good one would count less and less.
    """

    needs = words("score")
    gives = words()

    def __init__(self, times: float = 1.0, threshold: float = 1.0, most: float = 10.0) -> None:
        if times <= 0 or most < 1:
            raise ValueError(f"bad_per_good has times={times}, most={most}; expected times above 0 and most at least 1")
        self.times, self.threshold, self.most = times, threshold, most
        self._value = 1.0

    def observe(self, groups: Sequence[Group]) -> None:
        good = [s >= self.threshold for g in groups for s in g.scores() if s is not None]
        if good:
            found = self.times * (len(good) - sum(good)) / max(sum(good), 1)
            self._value = min(self.most, max(1.0, found))

    def value(self) -> float:
        return self._value

    def state_dict(self) -> dict[str, Any]:
        return {"value": self._value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._value = float(state["value"])
