"""What credit reads of the entropy of the policy's choices (nats), which ``fill`` computes at sampled tokens."""

from __future__ import annotations

from journeyman.types import Group, Lesson


def entropies(group: Group, lesson: Lesson) -> tuple[float, ...]:
    """Entropy (L) at each token of a lesson: the stream ``entropy`` of the trace that it was made from."""
    attempt = next((a for a in group.attempts if a.id == lesson.attempt), None)
    traces = attempt.traces if attempt else ()
    trace = next((t for t in traces if t.tokens == lesson.tokens and t.policy == lesson.policy), None)
    if trace is None or "entropy" not in trace.streams:
        raise ValueError(
            f"the lesson of attempt {lesson.attempt!r} has no trace with a stream 'entropy'; write an inner credit on what was "
            "sampled, such as group_zscore(), and a policy that gives forward.entropy"
        )
    return trace.streams["entropy"]


def runs(train: tuple[bool, ...]) -> list[tuple[int, int]]:
    """(start, end) of each unbroken run of learned tokens: the turns of a dialogue, or a whole answer."""
    edges = [t for t in range(len(train) + 1) if (t > 0 and train[t - 1]) != (t < len(train) and train[t])]
    return list(zip(edges[::2], edges[1::2], strict=True))
