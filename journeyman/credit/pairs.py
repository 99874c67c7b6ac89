"""Siblings compared: which is to be preferred over which."""

from __future__ import annotations

from dataclasses import dataclass, replace

from journeyman.credit.sampled import drawn
from journeyman.protocols import Render, Schedule, value, words
from journeyman.types import Attempt, Group, Lesson


@dataclass(frozen=True)
class pairs:
    """At most ``keep`` pairs of checked siblings whose scores differ by more than ``margin``: two lessons each, joined by
    ``Lesson.pair``, advantage 1 at the tokens of the preferred and -1 at those of the rejected answer.

    The widest gap comes first; among equal gaps the attempts that are in the fewest pairs so far, then the attempt ids, so that
    the order of siblings does not matter. keep=1 is best against worst, keep=None every pair. Abstentions and answers of
    the same tokens are in no pair; a group of equal scores gives none. An attempt in several pairs has several lessons.

    Best against worst: [S188] RLHF Workflow, Dong et al. 2024, arXiv 2405.07863. keep=10 of right against wrong: iterative
    RPO, Pang et al. 2024, arXiv 2404.19733.
    """

    keep: int | None = 1
    margin: float | Schedule = 0.0
    needs = words("score", "siblings", "tokens")
    gives = words("lessons", "advantage", "behaviour_logp", "pairs", "term.preference")

    def __post_init__(self) -> None:
        if self.keep is not None and self.keep < 1:
            raise ValueError(f"pairs has keep={self.keep}, expected at least 1, or None for every pair")

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        found: list[Lesson] = []
        for best, worst in self.choose(group):
            joined = f"{best.id} > {worst.id}"
            found += [replace(drawn(group, a, sign), term="preference", pair=joined) for a, sign in ((best, 1.0), (worst, -1.0))]
        return found

    def choose(self, group: Group) -> list[tuple[Attempt, Attempt]]:
        """(preferred, rejected) attempts, the widest gap first."""
        judged = [(a, s) for a, s in zip(group.attempts, group.scores(), strict=True) if s is not None]
        open_pairs = [
            (t - s, a, b) for a, s in judged for b, t in judged if s - t > value(self.margin) and text_of(a) != text_of(b)
        ]
        used: dict[str, int] = {}
        chosen: list[tuple[Attempt, Attempt]] = []
        while open_pairs and (self.keep is None or len(chosen) < self.keep):
            next_one = min(open_pairs, key=lambda p: (p[0], used.get(p[1].id, 0) + used.get(p[2].id, 0), p[1].id, p[2].id))
            open_pairs.remove(next_one)
            _, best, worst = next_one
            chosen.append((best, worst))
            for a in (best, worst):
                used[a.id] = used.get(a.id, 0) + 1
        return chosen


def text_of(attempt: Attempt) -> str | None:
    """The text of an answer."""
    return attempt.answer.text if attempt.answer else None
