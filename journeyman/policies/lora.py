"""Policies with low-rank adapters: a Decoder whose adapters train and whose base never moves."""

from __future__ import annotations

import copy
from pathlib import Path

from torch import nn

from journeyman.policies.adapter import TARGETS, Adapter, adapt, read_adapter
from journeyman.policies.decoder_policy import Decoder


def lora(
    policy: Decoder,
    rank: int = 16,
    alpha: float | None = None,
    targets: tuple[str, ...] = TARGETS,
    *,
    name: str | None = None,
    seed: int = 0,
    base: str = "",
) -> Decoder:
    """A policy with fresh adapters on ``policy``'s model, whose storage it shares; ``policy`` itself is left as it was.

    ``alpha`` defaults to 2 * rank. ``frozen()`` of the result is the base with adapters off; ``save`` writes a PEFT folder
    (``base`` is the model it will name), ``save(merged=True)`` a whole model."""
    return _adapted(policy, Adapter(rank, 2.0 * rank if alpha is None else alpha, tuple(targets), base=base), name, seed)


def _adapted(policy: Decoder, adapter: Adapter, name: str | None, seed: int) -> Decoder:
    if policy.adapter:
        raise ValueError(f"policy {policy.name!r} already has adapters; save it with merged=True and adapt that")
    shared = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in policy.model.parameters()}  # same storage, no gradient
    model = copy.deepcopy(policy.model, shared)
    adapt(model, adapter, seed)
    return Decoder(model, policy.config, policy.chat, name or policy.name, adapter=adapter, max_rows=policy.max_rows)


def read_lora(folder: Path | str, policy: Decoder, *, name: str | None = None) -> Decoder:
    """The adapters of a PEFT folder on ``policy``'s model."""
    adapter, tensors = read_adapter(Path(folder))
    adapted = _adapted(policy, adapter, name, 0)
    own = {n: tuple(t.shape) for n, t in adapted.trained()}
    if odd := sorted(own.keys() ^ tensors.keys()):
        raise ValueError(f"{folder}: adapter tensor {odd[0]} does not fit this model and adapter_config.json ({len(odd)} such)")
    adapted.load_weights(tensors, version=0)
    return adapted
