"""The control for every learning claim: the same scores, given to the wrong attempts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from journeyman.protocols import Feedback, words
from journeyman.types import Group, Judgement


@dataclass(frozen=True)
class shuffled:
    """The scores of ``feedback``, permuted uniformly at random among the checked attempts of each group.

    score'_i = score_{pi(i)}, pi uniform, drawn from (seed, group id); the true score stays in components["unshuffled"].
    Every group keeps its scores, so means, admission and spread stay what they were, while the expected correlation of
    score' and score inside a group is zero. What survives is which tasks are solvable: group-relative credit learns
    nothing about answers, and imitation copies a random sibling wherever one was right. A run that still improves
    improved for another reason (format, length, more of the task's own text).

    Statuses stay with their attempts. Evidence, critiques, spans and judgements of single traces are left out, for they
    would tell. It needs siblings: in groups of one attempt it would change nothing and be no control.
    """

    feedback: Feedback
    seed: int = 0
    gives = words("score")

    @property
    def needs(self) -> frozenset[str]:
        return self.feedback.needs | words("siblings")

    def __post_init__(self) -> None:
        if "score" not in self.feedback.gives:
            raise ValueError(f"shuffled permutes scores; {type(self.feedback).__name__} gives {sorted(self.feedback.gives)}")

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        judged = [j for j in await self.feedback(group) if j.trace is None]
        checked = [i for i, j in enumerate(judged) if j.score is not None]
        order = random.Random(f"{self.seed}/{group.id}").sample(checked, len(checked))
        for i, j in zip(checked, [judged[k] for k in order], strict=True):
            true = judged[i].score
            judged[i] = Judgement(judged[i].attempt, j.score, components={} if true is None else {"unshuffled": true})
        return [j if j.score is not None else replace(j, spans=(), critique="") for j in judged]
