"""Tool calls, graded by how near they come to those that were wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from journeyman.feedback.each import answered, failed
from journeyman.feedback.tool_match import Wanted, laid_out, match, read_calls
from journeyman.protocols import words
from journeyman.types import Attempt, Group, Judgement


@dataclass(frozen=True)
class tool_calls:
    """score = format + correct, from -3 to 4: format = 1 where the text is laid out as wanted, else 0; correct = 6 * match - 3,
    with match in [0, 1] by names, parameters and values of the calls (``tool_match``); -3 where no calls can be read, 0 where
    none are wanted. Components "format" and "correct".

    A task's answer is ``{"calls": [{"name": "weather", "parameters": {"city": "Oslo"}}], "response": false}``; the text is then
    ``<think>...</think>``, a line ``<tool_call>``, a JSON object a line, a line ``</tool_call>``, and with a response
    ``<response>...</response>``. Any other answer gives "failed". ToolRL, [S128] Qian et al. 2025, arXiv 2504.13958, which trains
    on it with GRPO: ``--feedback "tool_calls()"``. Differs from the paper's code in that true is not 1 and that two blocks of
    calls are none. A text of more than ``longest`` characters gets the least score unread.
    """

    longest: int = 20_000
    needs = words("answer")
    gives = words("score")

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        try:
            wanted = msgspec.convert(group.task.answer, Wanted)
        except msgspec.ValidationError as error:
            reason = (
                f"task {group.task.id} wants no calls that can be read ({error}); expected an answer such as "
                '{"calls": [{"name": "weather", "parameters": {"city": "Oslo"}}], "response": false}'
            )
            return [failed(a, reason) for a in group.attempts]
        return [self._judge(wanted, a) for a in group.attempts]

    def _judge(self, wanted: Wanted, attempt: Attempt) -> Judgement:
        text = answered(attempt)
        if isinstance(text, Judgement):
            return text
        short = len(text) <= self.longest
        calls = read_calls(text) if short and wanted.calls else None
        layout = float(short and laid_out(text, wanted))
        correct = 6 * match(wanted.calls, calls) - 3 if calls else -3.0 if wanted.calls else 0.0
        found = f"{len(calls)} calls" if calls else "no calls that can be read" if wanted.calls else "no calls wanted"
        evidence = f"{found}; laid out {'as wanted' if layout else 'otherwise'}"
        return Judgement(attempt.id, layout + correct, evidence=evidence, components={"format": layout, "correct": correct})
