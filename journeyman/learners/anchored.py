"""A learner that knows the whole distributions of the policy it began with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from journeyman.batch import Batch
from journeyman.learners.gradient import Gradient
from journeyman.protocols import Objective, OwnLoss, Trainable, Words, words
from journeyman.types import Lesson

ANCHOR = words("forward.anchor")


@dataclass(eq=False)
class anchored:
    """Gives the inner learner's policy one output more, ``anchor`` (B, T): KL(reference || policy) over the whole vocabulary at
    each trained token (nats), the reference being ``policy.frozen()`` as the run starts (of a policy with adapters: its base).
    The inner objective holds ``anchor_kl``: ASFT, [S192] Zhu et al. 2025, arXiv 2509.23753.

    Every update goes through the reference too, and needs two (B, T, V) tensors: lower ``inner.micro_tokens`` for large
    vocabularies. Checkpoints hold nothing more than the inner learner's.
    """

    inner: Gradient

    def __post_init__(self) -> None:
        if not self.inner.needs >= ANCHOR:
            raise ValueError(
                "anchored has an objective that needs no forward.anchor, so nothing would hold the policy; "
                "write plus(surrogate(...), anchor_kl())"
            )
        self._reference: Trainable | None = None

    @property
    def needs(self) -> Words:
        return self.inner.needs - ANCHOR | words("forward.logits")

    @property
    def gives(self) -> Words:
        return self.inner.gives | ANCHOR

    @property
    def objective(self) -> Objective:
        return self.inner.objective

    def prepare(self, policy: Trainable) -> None:
        """Copy the policy as the run starts; a resumed run calls this before it loads its checkpoint."""
        self._reference = policy.frozen()
        self.inner.prepare(self._held(policy))

    def update(self, policy: Trainable, lessons: Sequence[Lesson]) -> dict[str, float]:
        if self._reference is None:
            self.prepare(policy)
        return self.inner.update(self._held(policy), lessons)

    def _held(self, policy: Trainable) -> Trainable:
        assert self._reference is not None
        return cast(Trainable, Held(policy, self._reference))  # all of Trainable that Gradient uses

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state)

    def tensors(self) -> dict[str, Tensor]:
        return self.inner.tensors()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        self.inner.load_tensors(tensors)


class Held:
    """A policy and its reference as the inner learner sees them: ``forward`` gives ``anchor`` (B, T) too. All else is passed on."""

    def __init__(self, policy: Trainable, reference: Trainable) -> None:
        self.policy, self.reference, self.name = policy, reference, policy.name
        if isinstance(policy, OwnLoss):
            self.before_step = policy.before_step  # so that this is an OwnLoss too

    def forward(self, batch: Batch, want: Words) -> dict[str, Tensor]:
        if not want >= ANCHOR:
            return self.policy.forward(batch, want)
        whole = words("forward.logits")
        out = self.policy.forward(batch, want - ANCHOR | whole)
        with torch.no_grad():
            base = self.reference.forward(batch, whole)["logits"]
        kl = forward_kl(base[batch.train], out["logits"][batch.train])  # (trained tokens)
        return out | {"anchor": kl.new_zeros(batch.train.shape).masked_scatter(batch.train, kl)}

    def trained(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.policy.trained()

    def frozen(self) -> Trainable:
        return self.policy.frozen()

    def after_step(self, stats: Mapping[str, float]) -> None:
        self.policy.after_step(stats)


def forward_kl(base: Tensor, own: Tensor) -> Tensor:
    """KL(softmax(base) || softmax(own)) of logits (N, V), in nats (N)."""
    return F.kl_div(own.log_softmax(-1), base.log_softmax(-1), reduction="none", log_target=True).sum(-1)
