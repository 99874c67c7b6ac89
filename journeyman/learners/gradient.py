"""The learner of weights: gradient steps on an objective."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import torch
from torch import Tensor

from journeyman.batch import Batch, collate
from journeyman.learners.optimiser import Optimiser
from journeyman.learners.packing import micro_batches, plan, totals_of
from journeyman.learners.schedules import constant
from journeyman.objectives.common import at_least, over_tokens
from journeyman.objectives.sums import part_for
from journeyman.protocols import NONE, Objective, OwnLoss, Schedule, Trainable, Words, value, words
from journeyman.types import Lesson


@dataclass
class Tally:
    """What one update adds up. ``pairs`` are metrics as [sum, count]."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    skipped: int = 0
    trained: int = 0
    pairs: dict[str, Tensor] = field(default_factory=dict)

    def add(self, pairs: Mapping[str, Tensor]) -> None:
        self.pairs |= {k: self.pairs[k] + v if k in self.pairs else v for k, v in pairs.items()}

    def means(self) -> dict[str, float]:
        return {k: float(total / count) for k, (total, count) in self.pairs.items() if count}


@dataclass(eq=False)
class Gradient:
    """AdamW on an objective: ``epochs`` passes over a step's lessons, each in ``updates`` optimiser steps.

    Groups and pairs stay in one optimiser step. ``old_logp`` and ``ref_logp`` are computed for lessons that lack them, before
    the first backward, iff the objective needs them; the reference is the policy as ``prepare`` saw it (as the run starts).
    Denominators are counted over the whole optimiser step, then rows that add nothing are left out, the rest goes through
    in micro-batches of ``micro_tokens`` padded tokens. A policy with a loss of its own (``OwnLoss``) has it added. A loss or
    gradient norm that is not finite skips its optimiser step and leaves weights and moments as they were (metric
    ``skipped_steps``).

    ``lr`` * ``schedule(optimiser steps taken)`` is the learning rate, ``max_grad_norm`` None for no clipping.
    ``replay_share`` * lessons more are drawn from the last ``replay_size`` lessons of earlier updates.

    Metrics: loss, grad_norm (means over optimiser steps), lr, optimiser_steps, skipped_steps, lessons, replayed,
    lessons_with_signal, trained_tokens (over all passes), mismatch (mean |logp - behaviour_logp| of new lessons before the
    first optimiser step: how far learner and sampler are apart), and the objective's own, as means over tokens.
    """

    objective: Objective
    lr: float | Schedule = 1e-5
    schedule: Callable[[int], float] = constant()
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float | None = 1.0
    updates: int = 1
    epochs: int = 1
    micro_tokens: int = 8192
    replay_share: float | Schedule = 0.0
    replay_size: int = 1024
    seed: int = 0
    gives = words("old_logp", "ref_logp")

    def __post_init__(self) -> None:
        if isinstance(self.objective, type) or not isinstance(self.objective, Objective):
            raise ValueError(f"Gradient has objective={self.objective!r}, expected an objective such as surrogate() or nll()")
        for name, least in (("updates", 1), ("epochs", 1), ("micro_tokens", 1), ("replay_share", 0), ("replay_size", 1)):
            at_least("Gradient", name, getattr(self, name), least)
        for name in ("lr", "weight_decay", "eps", "max_grad_norm"):
            at_least("Gradient", name, getattr(self, name), 0)
        self.rounds = 0  # calls of update
        self.steps = 0  # optimiser steps taken
        self._buffer: list[Lesson] = []
        self._optimiser: Optimiser | None = None
        self._reference: Trainable | None = None

    @property
    def needs(self) -> Words:
        return self.objective.needs

    # ------------------------------------------------------------------------------------ the policy

    def prepare(self, policy: Trainable) -> None:
        """Make the reference of this policy (iff the objective needs one) and a fresh optimiser. To be called with the
        initial weights, before a checkpoint is loaded; a learner that was never prepared is at its first update."""
        self._reference = policy.frozen() if "ref_logp" in self.needs else None
        self.restart(policy)

    def restart(self, policy: Trainable) -> None:
        """A fresh optimiser on the policy's weights as they are: no moments, the schedule at its beginning."""
        self._optimiser = Optimiser(policy.trained(), self.betas, self.eps, self.weight_decay)
        self.steps = 0

    def _ready(self, policy: Trainable) -> Optimiser:
        if self._optimiser is None:
            self.prepare(policy)
        assert self._optimiser is not None
        if any(self._optimiser.weights.get(name) is not w for name, w in policy.trained()):
            raise ValueError(
                f"the learner was prepared with other weights than those of policy {policy.name!r}; call prepare(policy)"
            )
        return self._optimiser

    # ------------------------------------------------------------------------------------ the update

    def update(self, policy: Trainable, lessons: Sequence[Lesson], steps: int | None = None) -> dict[str, float]:
        """Learn the lessons of one step. ``steps``: so many optimiser steps in as many passes as it takes, in place of
        ``updates`` and ``epochs``."""
        optimiser = self._ready(policy)
        rng = random.Random(f"{self.seed}/replay/{self.rounds}")
        old = rng.sample(self._buffer, min(round(value(self.replay_share) * len(lessons)), len(self._buffer)))
        new = self._with_logps(policy, device_of(optimiser), lessons)
        tally, kept = Tally(), [x for x in new if self.teaches(x)]
        replayed = {id(x) for x in old}
        first = True
        for part in plan([*new, *old], self.updates, self.epochs, steps, f"{self.seed}/{self.rounds}"):
            first &= not self._step(policy, optimiser, part, tally, replayed if first else None)
        if value(self.replay_share):
            self._buffer = [*self._buffer, *kept][-self.replay_size :]
        self.rounds += 1
        return {
            "lessons": float(len(new)),
            "replayed": float(len(old)),
            "lessons_with_signal": float(sum(x.signal for x in new)),
            "trained_tokens": float(tally.trained),
            "optimiser_steps": float(len(tally.losses)),
            "skipped_steps": float(tally.skipped),
            "lr": value(self.lr) * self.schedule(max(self.steps - 1, 0)),
            **({"loss": mean(tally.losses), "grad_norm": mean(tally.norms)} if tally.losses else {}),
            **tally.means(),
        }

    def teaches(self, lesson: Lesson) -> bool:
        """Whether a lesson can add anything to the gradient."""
        skips = part_for(self.objective, lesson.term).skips_zero
        return any(lesson.train) and lesson.weight != 0 and (lesson.signal or not skips)

    def _step(
        self, policy: Trainable, optimiser: Optimiser, lessons: Sequence[Lesson], tally: Tally, replayed: set[int] | None
    ) -> bool:
        """One optimiser step; false where there was nothing to learn or it was skipped. The mismatch is measured where
        ``replayed`` is given, on the rows that are not in it."""
        totals, kept = totals_of(lessons), [x for x in lessons if self.teaches(x)]
        if not kept:
            return False
        loss, metrics = 0.0, Tally()
        parts = [[kept[i] for i in rows] for rows in micro_batches(kept, self.micro_tokens)]
        own_loss = isinstance(policy, OwnLoss)
        if own_loss:
            policy.before_step([collate(own, totals, device_of(optimiser)) for own in parts])
        for own in parts:
            want = frozenset(w for w in part_for(self.objective, own[0].term).needs if w.startswith("forward."))
            batch = collate(own, totals, device_of(optimiser))
            batch = batch.with_out(policy.forward(batch, want | words("forward.aux") if own_loss else want))
            share, found = self.objective(batch)
            if own_loss:
                share = share + batch.out["aux"]
                metrics.add({"aux": torch.stack([batch.out["aux"].detach().double(), batch.tokens.new_ones(()).double()])})
            loss += share.item()
            if not math.isfinite(loss):
                break
            share.backward()
            metrics.add(found)
            if replayed is not None and "behaviour_logp" in batch.streams and "logp" in batch.out:
                metrics.add({"mismatch": mismatch(batch, [id(x) not in replayed for x in own])})
        lr = value(self.lr) * self.schedule(self.steps)
        norm = optimiser.step(lr, self.max_grad_norm) if math.isfinite(loss) else None
        if norm is None:
            optimiser.clear()
            tally.skipped += 1
            return False
        self.steps += 1
        tally.losses.append(loss)
        tally.norms.append(norm)
        tally.trained += sum(sum(x.train) for x in kept)
        tally.add(metrics.pairs)
        policy.after_step({"loss": loss, "grad_norm": norm, "lr": lr})
        return True

    def _with_logps(self, policy: Trainable, device: torch.device, lessons: Sequence[Lesson]) -> list[Lesson]:
        """The lessons with the log-probabilities that their objective needs of the policy now and of the reference."""
        new = list(lessons)
        needs = [part_for(self.objective, x.term).needs if self.teaches(x) else NONE for x in new]
        todo = [i for i, x in enumerate(new) if "old_logp" in needs[i] and x.old_logp is None]
        for i, row in zip(todo, logps(policy, [new[i] for i in todo], self.micro_tokens, device), strict=True):
            new[i] = replace(new[i], old_logp=row)
        todo = [i for i, x in enumerate(new) if "ref_logp" in needs[i] and "ref_logp" not in x.streams]
        if todo:
            assert self._reference is not None
            for i, row in zip(todo, logps(self._reference, [new[i] for i in todo], self.micro_tokens, device), strict=True):
                new[i] = replace(new[i], streams={**new[i].streams, "ref_logp": row})
        return new

    # ------------------------------------------------------------------------------------ checkpoints

    def state_dict(self) -> dict[str, Any]:
        return {"rounds": self.rounds, "steps": self.steps, "replay": msgspec.to_builtins(self._buffer)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rounds, self.steps = state["rounds"], state["steps"]
        self._buffer = msgspec.convert(state["replay"], list[Lesson])

    def tensors(self) -> dict[str, Tensor]:
        return self._optimiser.tensors() if self._optimiser else {}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        if self._optimiser is None:
            raise ValueError(
                "the learner has seen no policy; call prepare(policy) with the run's initial policy before load_tensors"
            )
        self._optimiser.load_tensors(tensors)


def device_of(optimiser: Optimiser) -> torch.device:
    return next(iter(optimiser.weights.values())).device


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def mismatch(batch: Batch, new: Sequence[bool]) -> Tensor:
    """|logp - behaviour_logp| at trained tokens of new rows, as [sum, count]."""
    rows = torch.tensor(new, device=batch.train.device)[:, None]
    distance = (batch.logp.detach() - batch.streams["behaviour_logp"]).abs()
    return over_tokens(distance, replace(batch, train=batch.train & rows))


@torch.no_grad()
def logps(policy: Trainable, lessons: Sequence[Lesson], micro_tokens: int, device: torch.device) -> list[tuple[float, ...]]:
    """Log-probabilities (L) of each lesson's tokens under the policy (0 where not trained)."""
    found: list[tuple[float, ...]] = [()] * len(lessons)
    for rows in micro_batches(lessons, micro_tokens):
        batch = collate([lessons[i] for i in rows], {}, device)
        out = policy.forward(batch, words("forward.logp"))["logp"]
        kept = torch.where(batch.train, out, 0.0).tolist()
        for i, row in zip(rows, kept, strict=True):
            found[i] = tuple(row[: len(lessons[i].tokens)])
    return found
