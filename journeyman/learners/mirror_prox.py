"""Two proximal steps from the same place: one against oneself, one against what the first gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from journeyman.learners.gradient import Gradient
from journeyman.protocols import Objective, Trainable, Words
from journeyman.types import Lesson

ANCHOR = "anchor."


@dataclass(eq=False)
class mirror_prox:
    """Updates in twos. The first of two (the half-step) learns from the weights as they are and remembers them; the second puts
    them back and learns from there what the half-step's policy sampled. The optimiser's moments go on through both.

    With the objective ``nash``, whose ``old_logp`` are then those of the remembered weights in both updates, this is [S177]
    Nash-MP, Tiapkin et al. 2025, arXiv 2505.19731. Differs from the paper in taking ``inner.updates`` * ``inner.epochs`` gradient
    steps for each proximal step. Metric ``half``: 1 for the first of two updates, 0 for the second.
    """

    inner: Gradient

    def __post_init__(self) -> None:
        self._anchor: dict[str, Tensor] = {}

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
        self.inner.prepare(policy)

    def update(self, policy: Trainable, lessons: Sequence[Lesson]) -> dict[str, float]:
        half = self.inner.rounds % 2 == 0
        if half:
            self._anchor = {name: w.detach().clone() for name, w in policy.weights().items()}
        else:
            policy.load_weights(self._anchor, policy.version + 1)
        return self.inner.update(policy, lessons) | {"half": float(half)}

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state)

    def tensors(self) -> dict[str, Tensor]:
        """The inner learner's tensors, and the remembered weights."""
        return self.inner.tensors() | {ANCHOR + name: w for name, w in self._anchor.items()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        self._anchor = {k.removeprefix(ANCHOR): w.clone() for k, w in tensors.items() if k.startswith(ANCHOR)}
        self.inner.load_tensors({k: w for k, w in tensors.items() if not k.startswith(ANCHOR)})
