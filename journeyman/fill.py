"""Computes from the models what credit declared it needs of a trace's tokens, once per group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from journeyman.batch import collate
from journeyman.protocols import Trainable, Words
from journeyman.types import Group, Lesson, Trace


def fill(group: Group, policies: Mapping[str, Trainable], needed: Words) -> Group:
    """The group whose traces carry, as streams (L), every forward output in ``needed`` ("value" for GAE, "entropy" ...).

    Outputs are taken at sampled positions under the policy's current weights, at the temperature of sampling; they are
    0 elsewhere. A group is returned as it is when nothing is needed.
    """
    attempts = []
    for attempt in group.attempts:
        traces = list(attempt.traces)
        for name, policy in policies.items():
            wanted = frozenset(w for w in needed if f"forward.{w}" in policy.gives)
            rows = [i for i, t in enumerate(traces) if t.policy == name and t.tokens]
            if wanted and rows:
                for i, streams in zip(rows, forward_streams(policy, [traces[i] for i in rows], wanted), strict=True):
                    traces[i] = replace(traces[i], streams={**traces[i].streams, **streams})
        attempts.append(replace(attempt, traces=tuple(traces)))
    return replace(group, attempts=tuple(attempts))


def forward_streams(policy: Trainable, traces: list[Trace], wanted: Words) -> list[dict[str, tuple[float, ...]]]:
    """One forward pass without gradient over the traces; each wanted output as floats (L) per trace."""
    lessons = [
        Lesson(t.tokens, t.sampled, (0.0,) * len(t.tokens), t.policy, temperature=t.sampling.temperature or 1.0) for t in traces
    ]
    with torch.no_grad():
        out = policy.forward(collate(lessons, {}), frozenset(f"forward.{w}" for w in wanted))
    return [{w: tuple(out[w][i, : len(t.tokens)].tolist()) for w in wanted} for i, t in enumerate(traces)]
