"""Rewards at the spans of a text, and what follows a token as its credit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from journeyman.credit.rules import Scores
from journeyman.credit.sampled import answering, lesson
from journeyman.protocols import Render, words
from journeyman.types import Group, Judgement, Lesson, Trace


@dataclass(frozen=True)
class span_returns:
    """r_t = sum of (2 v - 1) over the spans that hold token t (``place`` "each") or end with it ("end"), plus outcome * (2 R - 1)
    at the last token drawn; A_t = r_t + decay * A_{t+1} over the tokens drawn, decay = gamma * lambda; advantage = A divided by
    its root mean square over the group's tokens.

    v is a span's value: 1 right, 0 wrong, 1/2 neither; R is the score, in [0, 1]. Without an outcome (0) an attempt that no
    critic judged has no lesson.

    Text2Grad: [S129] Wang et al. 2025, arXiv 2505.22338 (place "each", decay 0.95). Fine-Grained RLHF: [S136] Wu et al. 2023,
    arXiv 2306.01693 (place "end", several kinds of spans). Differs from both papers in that no value function is learned: this
    is generalised advantage estimation at V = 0, scaled and not whitened, for without values the mean over positions would push
    down the last tokens of right answers; and in that the KL to the reference is a term of the loss, ``kl_penalty(beta, k2)``,
    and not part of r_t.
    """

    place: Literal["each", "end"] = "each"
    outcome: float = 0.0
    decay: float = 0.95
    needs = words("score", "spans", "tokens")
    gives = words("lessons", "advantage", "behaviour_logp", "term.rl")

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1 or self.place not in ("each", "end"):
            raise ValueError(
                f"span_returns has place={self.place!r}, decay={self.decay}; expected place each or end and a decay from 0 to 1"
            )

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        made = [
            (lesson(group, a, *one, 0.0), returns(self.rewards(j, one[0], one[2]), one[2], self.decay))
            for a in group.attempts
            if (j := group.judgement(a)) is not None and j.score is not None and (j.spans or self.outcome)
            for one in answering(a)
        ]
        if not made:
            return []
        scale = np.sqrt(np.square(np.concatenate([r[np.array(x.train)] for x, r in made])).mean()) or 1.0
        return [replace(x, advantage=tuple((r / scale).tolist())) for x, r in made]

    def rewards(self, judgement: Judgement, trace: Trace, drawn: tuple[bool, ...]) -> Scores:
        """Rewards (L) of a trace's tokens."""
        found = np.zeros(len(trace.tokens))
        for s in judgement.spans:
            if s.trace == trace.id:
                found[s.start if self.place == "each" else s.end - 1 : s.end] += 2 * s.value - 1
        found[max(t for t, d in enumerate(drawn) if d)] += self.outcome * (2 * (judgement.score or 0.0) - 1)
        return found


def returns(rewards: Scores, drawn: tuple[bool, ...], decay: float) -> Scores:
    """A_t (L) at the tokens drawn; tokens of others between them are passed over."""
    found, after = np.zeros(len(rewards)), 0.0
    for t in range(len(rewards) - 1, -1, -1):
        if drawn[t]:
            found[t] = after = rewards[t] + decay * after
    return found
