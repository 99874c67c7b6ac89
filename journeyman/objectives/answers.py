"""Sums over an answer's own tokens, and the reference that they are compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import stream, trained_logp

REFERENCES = {"ref_logp": "the policy as the run started", "old_logp": "the policy as the step's lessons came in"}


def wide(x: Tensor) -> Tensor:
    """At least float32: sums over hundreds of tokens lose their margin in less."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def row_logp(batch: Batch) -> Tensor:
    """Sum of logp over each lesson's trained tokens (B)."""
    return wide(trained_logp(batch)).sum(1)


def row_mean_logp(batch: Batch) -> Tensor:
    """Mean of logp over each lesson's trained tokens (B)."""
    return row_logp(batch) / batch.train.sum(1).clamp(min=1)


def row_log_ratio(batch: Batch, reference: str) -> Tensor:
    """Sum of logp - reference over each lesson's trained tokens (B)."""
    return torch.where(batch.train, wide(trained_logp(batch)) - stream(batch, reference), 0.0).sum(1)


def check_reference(part: str, reference: str) -> None:
    """Refuse a reference that no learner gives."""
    if reference not in REFERENCES:
        known = ", ".join(f"{k!r} ({v})" for k, v in REFERENCES.items())
        raise ValueError(f"{part} has reference={reference!r}, expected one of {known}")
