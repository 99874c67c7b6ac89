"""A learner with a value head on the policy's hidden states, from which rewards become advantages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from journeyman.batch import Batch, collate
from journeyman.credit.gae import gae
from journeyman.credit.rules import Scores, zscores
from journeyman.learners.gradient import Gradient
from journeyman.learners.packing import micro_batches
from journeyman.objectives.sums import part_for
from journeyman.protocols import Objective, OwnLoss, Trainable, Words, words
from journeyman.types import Lesson

HEAD = "value_head."
MADE = words("advantage", "returns", "old_value", "forward.value")


@dataclass(eq=False)
class actor_critic:
    """Gives the inner learner's policy a value head, V_t = weight . hidden_{t-1} + bias, and each new lesson advantages from it:
    V of its tokens before the first optimiser step (``old_value``), then (A, returns) = gae(reward, V, gamma, lam), then, with
    ``whiten``, A = (A - mean) / std over all tokens of the step to be learned. The inner learner does the rest: its objective is
    such as ``plus(surrogate(ppo_clip(), over_old), value_loss())``, and one optimiser moves policy and head.

    PPO, Schulman et al. 2017, arXiv 1707.06347, with policy and value function sharing their parameters; gae: Schulman et al.
    2015, arXiv 1506.02438. Differs from both papers in ``gamma`` 1, customary for language models. The head starts at 0, so
    that the first update is REINFORCE on returns. Lessons of a term whose objective needs no ``returns`` stay as they are.

    Metric ``explained_variance``: 1 - var(returns - V) / var(returns) over the new lessons' tokens before the first step.
    """

    inner: Gradient
    gamma: float = 1.0
    lam: float = 0.95
    whiten: bool = True
    gives = words("old_logp", "ref_logp") | MADE

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1 or not 0 <= self.lam <= 1:
            raise ValueError(f"actor_critic has gamma={self.gamma}, lam={self.lam}; expected numbers from 0 to 1")
        if "returns" not in self.inner.needs:
            raise ValueError(
                "actor_critic has an objective that needs no returns, so nothing would learn the values; "
                "write plus(surrogate(...), value_loss())"
            )
        self._head: torch.nn.Linear | None = None

    @property
    def needs(self) -> Words:
        return (self.inner.needs - MADE) | words("reward", "forward.hidden")

    @property
    def objective(self) -> Objective:
        return self.inner.objective

    def prepare(self, policy: Trainable) -> None:
        """A fresh head, as wide as the policy's hidden states, and a fresh optimiser over policy and head."""
        probe = collate([Lesson((0, 0), (False, True), (0.0, 0.0))], {}, next(t for _, t in policy.trained()).device)
        with torch.no_grad():
            hidden = policy.forward(probe, words("forward.hidden"))["hidden"]
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        self._head = torch.nn.Linear(hidden.shape[-1], 1, device="meta", dtype=dtype).to_empty(device=hidden.device)
        for p in self._head.parameters():
            torch.nn.init.zeros_(p)
        self.inner.prepare(self._valued(policy))

    def update(self, policy: Trainable, lessons: Sequence[Lesson]) -> dict[str, float]:
        if self._head is None:
            self.prepare(policy)
        valued = self._valued(policy)
        credited, metrics = self._credited(valued, lessons)
        return self.inner.update(valued, credited) | metrics

    def _valued(self, policy: Trainable) -> Trainable:
        assert self._head is not None
        return cast(Trainable, Valued(policy, self._head))  # all of Trainable that Gradient uses

    def _credited(self, valued: Trainable, lessons: Sequence[Lesson]) -> tuple[list[Lesson], dict[str, float]]:
        """The lessons with advantage, ``returns`` and ``old_value``, and metrics."""
        new = list(lessons)
        at = [i for i, x in enumerate(new) if any(x.train) and "returns" in part_for(self.objective, x.term).needs]
        if lacking := [new[i].attempt for i in at if "reward" not in new[i].streams]:
            raise ValueError(
                f"actor_critic needs the stream 'reward', which {len(lacking)} of {len(at)} lessons lack {lacking[:3]}; "
                "write a credit that gives it, such as outcome()"
            )
        if not at:
            return new, {}
        drawn = [np.array(new[i].train) for i in at]
        old = values(valued, [new[i] for i in at], self.inner.micro_tokens)
        found = [gae(new[i].streams["reward"], v, new[i].train, self.gamma, self.lam) for i, v in zip(at, old, strict=True)]
        kept = np.concatenate([a[d] for (a, _), d in zip(found, drawn, strict=True)])
        scaled = np.split(zscores(kept, 1e-8) if self.whiten else kept, np.cumsum([d.sum() for d in drawn])[:-1])
        for i, (_, returns), v, d, a in zip(at, found, old, drawn, scaled, strict=True):
            advantage = np.zeros(len(d))
            advantage[d] = a
            streams = {**new[i].streams, "returns": tuple(returns.tolist()), "old_value": tuple(v.tolist())}
            new[i] = replace(new[i], advantage=tuple(advantage.tolist()), streams=streams)
        returns = np.concatenate([r[d] for (_, r), d in zip(found, drawn, strict=True)])
        return new, explained(returns, np.concatenate([v[d] for v, d in zip(old, drawn, strict=True)]))

    def state_dict(self) -> dict[str, Any]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.inner.load_state_dict(state)

    def tensors(self) -> dict[str, Tensor]:
        """The inner learner's tensors (moments of policy and head), and the head itself under ``value_head.``."""
        own = dict(head_weights(self._head)) if self._head else {}
        return self.inner.tensors() | {f"{name}/value": w.detach() for name, w in own.items()}

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        own = dict(head_weights(self._head)) if self._head else {}
        inner = dict(tensors)
        for name, w in own.items():
            found = inner.pop(f"{name}/value", None)
            if found is None or found.shape != w.shape:
                shape = None if found is None else tuple(found.shape)
                raise ValueError(f"the learner's tensors do not fit this policy: {name}/value of shape {shape}")
            w.copy_(found)
        self.inner.load_tensors(inner)


class Valued:
    """A policy and its head as the inner learner sees them: one set of weights, and ``forward`` gives ``value`` (B, T) too, V of
    the state in which ``tokens[b, t]`` is drawn. Everything but the head is passed on to the policy."""

    def __init__(self, policy: Trainable, head: torch.nn.Linear) -> None:
        self.policy, self.head, self.name = policy, head, policy.name
        if isinstance(policy, OwnLoss):
            self.before_step = policy.before_step  # so that this is an OwnLoss too

    def forward(self, batch: Batch, want: Words) -> dict[str, Tensor]:
        if "forward.value" not in want:
            return self.policy.forward(batch, want)
        out = self.policy.forward(batch, want - words("forward.value") | words("forward.hidden"))
        before = out["hidden"][:, :-1].to(self.head.weight.dtype)
        return out | {"value": F.pad(self.head(before).squeeze(-1), (1, 0))}

    def trained(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.policy.trained()
        yield from head_weights(self.head)

    def frozen(self) -> Trainable:
        return self.policy.frozen()

    def after_step(self, stats: Mapping[str, float]) -> None:
        self.policy.after_step(stats)


def head_weights(head: torch.nn.Linear) -> list[tuple[str, Tensor]]:
    return [(HEAD + name, p) for name, p in head.named_parameters()]


@torch.no_grad()
def values(policy: Trainable, lessons: Sequence[Lesson], micro_tokens: int) -> list[Scores]:
    """V (L) of each lesson's tokens under the policy and its head, 0 where not trained."""
    device = next(t for _, t in policy.trained()).device
    found: list[Scores] = [np.zeros(0)] * len(lessons)
    for rows in micro_batches(lessons, micro_tokens):
        batch = collate([lessons[i] for i in rows], {}, device)
        out = torch.where(batch.train, policy.forward(batch, words("forward.value"))["value"], 0.0)
        for i, row in zip(rows, out.double().cpu().numpy(), strict=True):
            found[i] = row[: len(lessons[i].tokens)]
    return found


def explained(returns: Scores, old: Scores) -> dict[str, float]:
    """The share of the returns' variance that the values explain; nothing where the returns are all alike."""
    if np.ptp(returns) == 0:
        return {}
    return {"explained_variance": float(1 - (returns - old).var() / returns.var())}
