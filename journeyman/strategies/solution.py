"""The task's own worked solution as an expert: what supervised fine-tuning imitates."""

from __future__ import annotations

from dataclasses import dataclass

from journeyman.protocols import View, words
from journeyman.runner import Check
from journeyman.types import Answer, Question


@dataclass(frozen=True)
class solution:
    """Answer with the task's worked solution: the source's own text, or an exact solver's for generated tasks. An oracle that
    calls no model. A task without a solution is an error of that attempt.

    With ``imitate_best`` this is plain supervised fine-tuning, on solutions that the verifier has checked.
    """

    needs = words("oracle")
    gives = words("answer")

    async def __call__(self, question: Question, policy: View, check: Check) -> Answer:
        return Answer(check.solution())
