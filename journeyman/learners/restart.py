"""Learning anew from the first weights, each round a little longer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from journeyman.learners.gradient import Gradient
from journeyman.objectives.common import at_least
from journeyman.protocols import Objective, Trainable, Words
from journeyman.types import Lesson


@dataclass(eq=False)
class restart:
    """Before each update that has something to learn, puts the policy back to the weights the run started with and gives
    ``inner`` a fresh optimiser; round k (from 0) then takes round(inner.updates * growth^k) optimiser steps, over the lessons as
    often as that needs (``inner.epochs`` is not used).

    STaR, Zelikman et al. 2022, arXiv 2203.14465 (40 updates, growth 1.2); ReST-EM restarts too, Singh et al. 2023, arXiv
    2312.06585 (growth 1). Metric ``round``: which round this was.
    """

    inner: Gradient
    growth: float = 1.0

    def __post_init__(self) -> None:
        at_least("restart", "growth", self.growth, 0)
        self._start: dict[str, Tensor] | None = None

    @property
    def needs(self) -> Words:
        return self.inner.needs

    @property
    def gives(self) -> Words:
        return self.inner.gives

    @property
    def objective(self) -> Objective:
        return self.inner.objective

    def prepare(self, policy: Trainable) -> None:
        """Remember the run's initial weights; a resumed run calls this before it loads its checkpoint."""
        self._start = {name: w.detach().clone() for name, w in policy.weights().items()}
        self.inner.prepare(policy)

    def length(self, round_: int) -> int:
        """Optimiser steps of this round."""
        return max(1, round(self.inner.updates * self.growth**round_))

    def update(self, policy: Trainable, lessons: Sequence[Lesson]) -> dict[str, float]:
        if self._start is None:
            self.prepare(policy)
        at = self.inner.rounds
        if any(map(self.inner.teaches, lessons)):
            policy.load_weights(self._start or {}, policy.version + 1)
            self.inner.restart(policy)
        return self.inner.update(policy, lessons, self.length(at)) | {"round": float(at)}

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state)

    def tensors(self) -> dict[str, Tensor]:
        return self.inner.tensors()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        self.inner.load_tensors(tensors)
