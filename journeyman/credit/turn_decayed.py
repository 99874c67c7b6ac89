"""UFO: the earlier a conversation gets it right the better, and no answer twice."""

from __future__ import annotations

from dataclasses import dataclass, replace

from journeyman.credit.group_relative import group_zscore
from journeyman.extract import canonical, extract
from journeyman.protocols import Credit, Render, Words, words
from journeyman.types import Attempt, Group, Judgement, Lesson


@dataclass(frozen=True)
class turn_decayed:
    """The inner credit on other scores: gamma^turn (turns from 0) of a conversation whose last answer is right (score >=
    ``threshold``), else 0, minus repetition * (1 - distinct / valid), with the numbers of distinct and of readable answers of all
    its turns.

    Answers are read as the task says (``Task.extract``) and compared in their canonical form; with none readable nothing is
    subtracted. Judgements stay as they are; only the inner credit sees others.

    UFO: [S064] Liu et al. 2025, arXiv 2507.14295 (gamma 0.5, repetition 0.5, 5 turns). Differs from the paper in its baseline,
    the siblings' (a value function with gamma = lambda = 1 there, which has the same reward at every token), in having no
    penalty of format, and in that a turn without a readable answer counts as a turn.
    """

    inner: Credit = group_zscore()
    gamma: float = 0.5
    repetition: float = 0.5
    threshold: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1 or not self.repetition >= 0:
            raise ValueError(
                f"turn_decayed has gamma={self.gamma}, repetition={self.repetition}; expected gamma from 0 to 1, repetition >= 0"
            )

    @property
    def needs(self) -> Words:
        return words("score", "turn_score") | self.inner.needs

    @property
    def gives(self) -> Words:
        return self.inner.gives

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        attempts = {a.id: a for a in group.attempts}

        def decayed(j: Judgement) -> Judgement:
            if j.score is None or j.trace is not None:
                return j
            return replace(j, score=self.reward(attempts[j.attempt], j.score, group.task.extract))

        return self.inner(replace(group, judgements=tuple(map(decayed, group.judgements))), render)

    def reward(self, attempt: Attempt, score: float, extractor: str) -> float:
        """What the whole conversation is worth."""
        turns = attempt.answer.candidates if attempt.answer else ()
        said = [canonical(x) for t in turns if (x := extract(t.text, extractor)) is not None]
        repeated = 1 - len(set(said)) / len(said) if said else 0.0
        solved = self.gamma ** max(0, len(turns) - 1) if score >= self.threshold else 0.0
        return solved - self.repetition * repeated
