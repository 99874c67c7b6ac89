"""What credits on sampled tokens share: which tokens the policy drew of an attempt, and the lesson on them."""

from __future__ import annotations

from collections.abc import Callable

from journeyman.credit.rules import Scores
from journeyman.types import Attempt, Group, Lesson, Trace

Rule = Callable[[Scores], Scores]  # scores (G) -> advantages (G)
Drawn = tuple[bool, ...]  # (L) the tokens to learn
Shaper = Callable[[Attempt], float]  # added to an attempt's score before the rule, never to its judgement


def answering(attempt: Attempt, policy: str | None = None) -> list[tuple[Trace, float, Drawn]]:
    """The trace that holds the answer, once for each temperature of its line, and what ``policy`` (None: the one that ended it)
    drew at that one. A trace of the line owns what it drew up to where the next one begins: a continuation may have cut it off."""
    leaf = attempt.trace(attempt.answer.trace if attempt.answer else None)
    if leaf is None or not leaf.tokens:
        raise ValueError(
            f"attempt {attempt.id!r} has a score, but no trace with token ids holds its answer; "
            "write a strategy that answers from a trace it sampled, or imitate_best() as the credit"
        )
    drawn: dict[float, list[bool]] = {}
    line = attempt.lineage(leaf.id)
    for t, end in zip(line, [*(child.start for child in line[1:]), len(leaf.tokens)], strict=True):
        if t.policy == (policy or leaf.policy):
            mask, end = drawn.setdefault(warmth(t), [False] * len(leaf.tokens)), min(end, len(t.tokens))
            mask[t.start : end] = t.sampled[t.start : end]
    return [(leaf, temperature, tuple(mask)) for temperature, mask in drawn.items() if any(mask)]


def every(attempt: Attempt) -> list[tuple[Trace, float, Drawn]]:
    """Every trace that drew something, and what its own call drew."""
    own = [(t, warmth(t), tuple(s and i >= t.start for i, s in enumerate(t.sampled))) for t in attempt.traces]
    return [x for x in own if any(x[2])]


def warmth(trace: Trace) -> float:
    """The temperature that a trace's log-probabilities are at: 1 for greedy ones."""
    return trace.sampling.temperature or 1.0


def lesson(group: Group, attempt: Attempt, trace: Trace, temperature: float, drawn: Drawn, advantage: float) -> Lesson:
    """The trace's tokens, those that were drawn to be learned with this advantage."""
    return Lesson(
        tokens=trace.tokens,
        train=drawn,
        advantage=tuple(advantage if d else 0.0 for d in drawn),
        policy=trace.policy,
        behaviour_logp=trace.logp,
        temperature=temperature,
        group=group.id,
        attempt=attempt.id,
    )


def drawn(group: Group, attempt: Attempt, advantage: float) -> Lesson:
    """The tokens that the answering policy drew of an attempt, as one lesson."""
    lines = answering(attempt)
    if len(lines) != 1:
        raise ValueError(
            f"attempt {attempt.id!r} was drawn at {len(lines)} temperatures, but a preference compares answers of one "
            "distribution; write a strategy that samples every turn at the same temperature"
        )
    return lesson(group, attempt, *lines[0], advantage)
