"""Steps of a search tree compared: which next step is to be preferred after the same beginning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from journeyman.credit.sampled import lesson, warmth
from journeyman.protocols import Render, Schedule, value, words
from journeyman.types import Attempt, Group, Lesson, Trace


@dataclass(frozen=True)
class step_pairs:
    """Of the sampled continuations of one trace that a search marked with ``value`` (Q) and ``visits`` (N), the one of highest
    Q is preferred over the one of lowest: two lessons joined by ``Lesson.pair``, advantage 1 and -1 from the first token in
    which they differ, the stream ``smoothing`` there = min(1 - c, 0.5), c = 1 / (1 + N_rejected / max(1, N_preferred)).

    At most ``keep`` pairs of a group, the widest gap of Q first, those of a gap of at most ``margin`` left out (equal values
    would make arbitrary pairs). Needs no score: what the search found out is in its marks.

    [S191] MCTS-DPO, Xie et al. 2024, arXiv 2405.00451 (8 pairs a prompt). Differs from the paper in not merging chains of
    single children into one step.
    """

    keep: int = 8
    margin: float | Schedule = 0.0
    needs = words("tokens", "visits", "values")
    gives = words("lessons", "advantage", "behaviour_logp", "pairs", "smoothing", "term.preference")

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError(f"step_pairs has keep={self.keep}, expected at least 1")

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        found: list[tuple[float, str, list[Lesson]]] = []
        for attempt in group.attempts:
            tried: dict[str | None, list[Trace]] = {}
            for t in attempt.traces:
                if "value" in t.marks and "visits" in t.marks:
                    tried.setdefault(t.parent, []).append(t)
            for steps in tried.values():
                best, worst = ends(steps)
                gap, at = best.marks["value"] - worst.marks["value"], differ(best, worst)
                if gap > value(self.margin) and at < min(len(best.tokens), len(worst.tokens)):
                    joined = f"{attempt.id}: {best.id} > {worst.id}"
                    doubt = min(1 - confidence(best, worst), 0.5)
                    both = [step(group, attempt, t, at, sign, doubt, joined) for t, sign in ((best, 1.0), (worst, -1.0))]
                    found.append((-gap, joined, both))
        return [x for *_, both in sorted(found, key=lambda f: f[:2])[: self.keep] for x in both]


def ends(steps: Sequence[Trace]) -> tuple[Trace, Trace]:
    """The steps of highest and of lowest value; of equal ones the most visited, then the lesser id."""
    ranked = sorted(steps, key=lambda t: (-t.marks["value"], -t.marks["visits"], t.id))
    lowest = [t for t in ranked if t.marks["value"] == ranked[-1].marks["value"]]
    return ranked[0], lowest[0]


def differ(a: Trace, b: Trace) -> int:
    """The first position, not before what either call drew, where two traces hold different tokens (or one has ended)."""
    at = max(a.start, b.start)
    while at < min(len(a.tokens), len(b.tokens)) and a.tokens[at] == b.tokens[at]:
        at += 1
    return at


def confidence(best: Trace, worst: Trace) -> float:
    """How sure the search is of the preference, from its visits."""
    return 1 / (1 + worst.marks["visits"] / max(1, best.marks["visits"]))


def step(group: Group, attempt: Attempt, trace: Trace, at: int, sign: float, doubt: float, joined: str) -> Lesson:
    """The trace's own tokens from ``at`` on, as half of a pair."""
    own = tuple(s and i >= at for i, s in enumerate(trace.sampled))
    doubts = tuple(doubt if x else 0.0 for x in own)
    made = lesson(group, attempt, trace, warmth(trace), own, sign)
    return replace(made, term="preference", streams={"smoothing": doubts}, pair=joined)
