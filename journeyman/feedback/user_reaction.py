"""What users will make of an answer, by what they made of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from journeyman.feedback.each import answered
from journeyman.feedback.reactions import chances, fitted, read_log
from journeyman.protocols import words
from journeyman.types import Group, Judgement


@dataclass(frozen=True)
class user_reaction:
    """score = P[reaction] of the answer under a logistic model of a log of reactions (``reactions``), a .jsonl file of
    ``{"prompt": "...", "response": "...", "reaction": true}``. It is fitted once, here, at assembly.

    RLUF, [S149] Han et al. 2025, arXiv 2505.14946, whose P[Love] is a language model's (low confidence: made from the abstract).
    It is what people liked, not what is right: a policy that is rewarded by it alone learns whatever goes with a reaction, such
    as farewells; mix it with a verifier (``summed``), and watch that verifier. ``strength``: weight of the log against the
    penalty on the model's weights.
    """

    log: str
    strength: float = 1.0
    needs = words("answer")
    gives = words("score")

    def __post_init__(self) -> None:
        if not self.strength > 0:
            raise ValueError(f"user_reaction has strength={self.strength}, expected a number above 0")
        object.__setattr__(self, "_model", fitted(read_log(Path(self.log)), self.strength))

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        texts = {a.id: answered(a) for a in group.attempts}
        known = {id: t for id, t in texts.items() if isinstance(t, str)}
        prompt = group.task.prompt[-1]["content"]
        found = chances(self.__dict__["_model"], [(prompt, t) for t in known.values()]) if known else []
        scores = dict(zip(known, found, strict=True))
        return [t if isinstance(t, Judgement) else Judgement(id, scores[id]) for id, t in texts.items()]
