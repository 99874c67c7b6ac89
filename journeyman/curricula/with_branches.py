"""A curriculum that sees every branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from journeyman.credit.over_branches import unfolded
from journeyman.protocols import Curriculum, Words, words
from journeyman.types import Assignment, Group


class with_branches:
    """The inner curriculum, which is shown each group with its branches as siblings (see ``over_branches``): with ``learnable``
    inside, a group is admitted if its branches are not all alike, though its plain answers may be.

    CURE [S060], Li et al. 2025, arXiv 2508.11016, filters groups of answers and branches as DAPO does its groups of answers.
    """

    def __init__(self, inner: Curriculum) -> None:
        self.inner = inner
        self.needs: Words = inner.needs | words("branch_score")
        self.gives: Words = inner.gives

    def pick(self, n: int) -> list[Assignment]:
        return self.inner.pick(n)

    def observe(self, groups: Sequence[Group]) -> None:
        self.inner.observe([unfolded(g) for g in groups])

    def admit(self, group: Group) -> bool:
        return self.inner.admit(unfolded(group))

    def state_dict(self) -> dict[str, Any]:
        return {"inner": self.inner.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state["inner"])
