"""Admission of groups that there is something to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from journeyman.curricula.accuracy import accuracies, accuracy
from journeyman.protocols import Curriculum, Words, words
from journeyman.types import Assignment, Group


class learnable:
    """Admits a group iff ``inner`` does, low < mean accuracy < high, and its accuracies are not all equal.

    Accuracy is the judgement's component "accuracy" where there is one, else its score; never a shaped reward (shaping is
    done in credit), under which groups that are all right would look informative. What is not admitted is refilled.
    DAPO's dynamic sampling, Yu et al. 2025, arXiv 2503.14476. ``observe`` keeps the accuracy before the filter.
    """

    def __init__(self, inner: Curriculum, low: float = 0.0, high: float = 1.0) -> None:
        if not low < high:
            raise ValueError(f"learnable has low={low}, high={high}, expected low < high")
        self.inner, self.low, self.high = inner, low, high
        self.needs: Words = inner.needs | words("score")
        self.gives: Words = inner.gives
        self._groups, self._right = 0, 0.0

    @property
    def accuracy(self) -> float | None:
        """Mean accuracy of all groups so far, admitted or not; None before the first."""
        return self._right / self._groups if self._groups else None

    def pick(self, n: int) -> list[Assignment]:
        return self.inner.pick(n)

    def observe(self, groups: Sequence[Group]) -> None:
        found = [a for g in groups if (a := accuracy(g)) is not None]
        self._groups += len(found)
        self._right += sum(found)
        self.inner.observe(groups)

    def admit(self, group: Group) -> bool:
        mean = accuracy(group)
        return (
            mean is not None
            and self.low < mean < self.high
            and len(set(accuracies(group))) > 1
            and self.inner.admit(group)
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        return {"groups": self._groups, "right": self._right, "inner": self.inner.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._groups, self._right = state["groups"], state["right"]
        self.inner.load_state_dict(state["inner"])
