"""A checklist of constraints, made before any answer was seen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from journeyman.feedback.each import answered, failed
from journeyman.feedback.verifiers import Verifier
from journeyman.protocols import words
from journeyman.types import Attempt, Group, Judgement


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer of a task: its constraints in words, and the number of words that its text should have."""

    constraints: list[str]
    words: int | None = None


@dataclass(frozen=True)
class checklist:
    """score = mean label of the task's constraints, each 1, 0.5 or 0 as ``verify`` says (``by_rules``, a model as ``asked``, or any
    function of that shape); where the task names a length, score = (1 - share) * mean + share * length, length = 1 for a number
    of words within ``tolerance`` of it, falling in a straight line to 0 at none and at twice as many.

    A task's answer is ``{"constraints": ["names a harbour", "three paragraphs"], "words": 200}``. ACE-RL, [S134] Chen et al. 2025,
    arXiv 2509.04903, which trains on it with GRPO; labels, length and share are ours (low confidence). Components "constraints"
    and "length". Constraints without a label are left out, an attempt without any is abstained; a verifier that raises costs
    that attempt. Equal texts of a group are judged once, all at the same time.
    """

    verify: Verifier
    share: float = 0.5
    tolerance: float = 0.1
    needs = words("answer")
    gives = words("score")

    def __post_init__(self) -> None:
        if not (0 <= self.share <= 1 and 0 <= self.tolerance < 1):
            raise ValueError(f"checklist has share={self.share}, tolerance={self.tolerance}; expected numbers from 0 to 1")

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        try:
            asked = msgspec.convert(group.task.answer, Asked)
        except msgspec.ValidationError as error:
            reason = f'task {group.task.id} has no checklist ({error}); expected {{"constraints": ["..."], "words": 200}}'
            return [failed(a, reason) for a in group.attempts]
        texts = list(dict.fromkeys(t for a in group.attempts if isinstance(t := answered(a), str)))
        calls = [self.verify(group.task, t, c) for t in texts for c in asked.constraints]
        said = await asyncio.gather(*calls, return_exceptions=True)
        n = len(asked.constraints)
        labels = {t: said[i * n : (i + 1) * n] for i, t in enumerate(texts)}
        return [self._judge(asked, a, labels) for a in group.attempts]

    def _judge(self, asked: Asked, attempt: Attempt, said: dict[str, list[float | BaseException | None]]) -> Judgement:
        text = answered(attempt)
        if isinstance(text, Judgement):
            return text
        if odd := [x for x in said[text] if isinstance(x, BaseException) or (x is not None and not 0 <= x <= 1)]:
            return failed(attempt, f"the verifier gave {odd[0]!r:.500}; expected a number from 0 to 1, or None")
        evidence = "\n".join(f"{c}: {x}" for c, x in zip(asked.constraints, said[text], strict=True))
        labels = [x for x in said[text] if isinstance(x, int | float)]
        if not labels:
            return Judgement(attempt.id, None, "abstained", evidence=evidence or "no constraints")
        parts = {"constraints": sum(labels) / len(labels)}
        if asked.words:
            off = abs(len(text.split()) / asked.words - 1)
            parts["length"] = min(1.0, max(0.0, (1 - off) / (1 - self.tolerance)))
        score = (1 - self.share) * parts["constraints"] + self.share * parts.get("length", parts["constraints"])
        return Judgement(attempt.id, score, evidence=evidence, components=parts)
