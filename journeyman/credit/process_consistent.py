"""PROF: learn from the answers whose steps and outcome agree."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from journeyman.credit.group_relative import group_zscore
from journeyman.protocols import Credit, Render, Words, words
from journeyman.types import Group, Lesson, Span


@dataclass(frozen=True)
class process_consistent:
    """The inner credit of a group without its ``remove`` least consistent attempts, where the inner credit compares those kept.

    consistency = mean over steps of 2 (s - mean s of the group) * (2r - 1) - penalty * [steps < ``fewest`` or > ``most``], with s
    the values of the judgement's spans and r = 1 for a right answer (score >= ``threshold``), else 0. Removed are, lowest first,
    k = min(remove, round((right - wrong + remove) / 2)) right ones and remove - k wrong ones, so that the kept are balanced;
    only wrong ones where k <= 0. ``wrong_at_random``: which wrong ones does not depend on their steps (the paper's "correct
    only"). An attempt that no critic judged has consistency 0; unchecked ones are left out.

    PROF: [S154] Ye et al. 2025, arXiv 2509.03403 (8 attempts, 4 removed, penalty 10, 2 to 30 steps). Differs from the paper in
    nothing that decides: its released code takes 1/2 for the mean s, which moves all right ones, and all wrong ones, by the
    same amount. As there the penalty also meets wrong answers, which are then removed first.
    """

    inner: Credit = group_zscore()
    remove: int = 4
    penalty: float = 10.0
    fewest: int = 2
    most: int = 30
    threshold: float = 1.0
    wrong_at_random: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.remove < 0 or not self.fewest <= self.most:
            raise ValueError(
                f"process_consistent has remove={self.remove}, fewest={self.fewest}, most={self.most}; expected remove of "
                "at least 0 and fewest <= most"
            )

    @property
    def needs(self) -> Words:
        return words("score", "spans") | self.inner.needs

    @property
    def gives(self) -> Words:
        return self.inner.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        found = [(a, group.judgement(a)) for a in group.attempts]
        judged = [(a, j.spans, j.score >= self.threshold) for a, j in found if j is not None and j.score is not None]
        values = [s.value for _, spans, _ in judged for s in spans]
        middle = sum(values) / len(values) if values else 0.0
        order = sorted(judged, key=lambda x: (self.consistency(x[1], x[2], middle), x[0].id))
        right = [a for a, _, good in order if good]
        wrong = [a for a, _, good in order if not good]
        if self.wrong_at_random:
            random.Random(f"{self.seed}/{group.id}").shuffle(wrong := sorted(wrong, key=lambda a: a.id))
        k = removed(len(right), len(wrong), self.remove)
        kept = {a.id for a in (*right[k:], *wrong[max(0, self.remove - k) :])}
        attempts = tuple(a for a in group.attempts if a.id in kept)
        judgements = tuple(j for j in group.judgements if j.attempt in kept)
        return self.inner(replace(group, attempts=attempts, judgements=judgements), render)

    def consistency(self, spans: Sequence[Span], right: bool, middle: float) -> float:
        """How well the steps agree with the outcome; 0 where no step was judged."""
        n = len(spans)
        if n == 0:
            return 0.0
        mean = sum(2 * (s.value - middle) for s in spans) / n
        return mean * (1 if right else -1) - self.penalty * (not self.fewest <= n <= self.most)


def removed(right: int, wrong: int, remove: int) -> int:
    """How many right attempts are removed."""
    return max(0, min(right, remove, round((right - wrong + remove) / 2)))
