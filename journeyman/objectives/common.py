"""What objectives share: the shapes of their factors, the streams they read, and how they report."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from journeyman.batch import Batch, Totals
from journeyman.protocols import Schedule

Clip = Callable[[Tensor, Tensor], Tensor]  # (ratio (B, T), advantage (B, T)) -> multiplier (B, T) of the ratio
Ratio = Callable[[Batch], Tensor]  # batch -> (B, T)
Reduce = Callable[[Tensor, Batch, Totals], Tensor]  # (per token (B, T), batch, whole-step totals) -> scalar
Estimator = Callable[[Tensor, Tensor], Tensor]  # (logp (B, T), ref_logp (B, T)) -> (B, T)

LARGEST = 20.0  # |log ratio| is clamped to this before exp: e^20 is finite in float32, and so is its square


def whole(batch: Batch) -> Totals:
    """Whole-step denominators of an objective that reads every lesson: the sums over the terms in ``batch.totals``."""
    if not batch.totals:
        raise ValueError("the batch has no totals; write collate(lessons, {term: Totals.of(all lessons of the step)})")
    each = batch.totals.values()
    return Totals(sum(t.tokens for t in each), sum(t.sequences for t in each), sum(t.groups for t in each))


def trained_logp(batch: Batch) -> Tensor:
    """logp (B, T) at trained tokens and 0 elsewhere, so that nothing another token holds can reach the loss."""
    return torch.where(batch.train, batch.logp, 0.0)


def stream(batch: Batch, name: str) -> Tensor:
    """A per-token stream (B, T); ValueError names a lesson that lacks it."""
    if name not in batch.streams:
        held = [{**x.streams, "old_logp": x.old_logp, "behaviour_logp": x.behaviour_logp} for x in batch.lessons]
        lacking = [x.attempt for x, have in zip(batch.lessons, held, strict=True) if have.get(name) is None]
        raise ValueError(
            f"the objective needs {name!r}, which the batch lacks, as do {len(lacking)} of its {len(held)} lessons {lacking[:3]}; "
            "write a credit that gives it, such as group_zscore(), or a ratio that does not need it, such as on_policy"
        )
    return batch.streams[name]


def exp_difference(a: Tensor, b: Tensor) -> Tensor:
    """exp(a - b), detached, in float32 or better, its logarithm clamped to [-20, 20]."""
    a, b = (x.detach().to(torch.promote_types(x.dtype, torch.float32)) for x in (a, b))
    return (a - b).clamp(-LARGEST, LARGEST).exp()


def over_tokens(values: Tensor, batch: Batch) -> Tensor:
    """A metric as [sum over trained tokens, number of them] (2): pairs add up over micro-batches and steps."""
    kept = torch.where(batch.train, values.detach(), 0).sum(dtype=torch.float64)
    return torch.stack([kept, batch.train.sum(dtype=torch.float64)])


def at_least(part: str, field: str, found: float | Schedule | None, least: float) -> None:
    """Refuse a number below ``least`` (None and schedules pass)."""
    if isinstance(found, int | float) and not found >= least:
        raise ValueError(f"{part} has {field}={found}, expected a number of at least {least}")
