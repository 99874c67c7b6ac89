"""What strategies that branch share: the beginning of a trace, to be continued another way, and the random choice of its end."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from journeyman.scope import here, seed_of
from journeyman.types import Trace

Decode = Callable[[Sequence[int]], str]  # the text of drawn tokens, a final end token left out


def cut(trace: Trace, at: int, decode: Decode) -> Trace:
    """The trace as it stood before its token ``at`` was drawn, for ``extend`` to draw on from there. It keeps its id, so that what
    continues it has the whole trace as its parent and ``at`` as its start. ValueError where this call did not draw ``at``."""
    if not trace.start <= at < len(trace.tokens):
        raise ValueError(f"trace {trace.id!r} is cut at {at}, expected a token it drew: {trace.start} to {len(trace.tokens) - 1}")
    return replace(
        trace,
        text=decode(trace.tokens[trace.start : at]),
        tokens=trace.tokens[:at],
        sampled=trace.sampled[:at],
        logp=trace.logp[:at],
        version=trace.version[:at],
        sampled_tokens=at - trace.start,
    )


def dice(about: str) -> random.Random:
    """Random numbers for a choice of this name in the running attempt: the same whenever the attempt is run again."""
    return random.Random(seed_of(here().seed, about))
