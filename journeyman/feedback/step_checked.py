"""What a critic says of the parts of an answer, put at its tokens."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from journeyman.feedback.critique import Critic, Critique, answer_trace
from journeyman.protocols import Feedback, Words, words
from journeyman.types import Group, Judgement, Span, Trace

Decode = Callable[[Sequence[int]], str]  # the text of drawn tokens, a final end token left out


@dataclass(frozen=True)
class step_checked:
    """The judgements of ``feedback``, each with the critic's view of the answer: ``spans`` with values in [0, 1] (1 right, 0
    wrong) at the tokens of each part it judged, ``critique`` in its words, components "parts" and "right_parts" (sum of values).

    Blanks after a part are its own, and after the last one the end of turn; a token that straddles two parts belongs to the
    first. A part that is missing is put at the end-of-turn token, where there is one. Where the critic abstains, and where
    ``feedback`` gave no score, the judgement stays as it is. Equal texts of a group are judged once, different ones together.
    ``decode`` is the tokenizer's of the answering policy. ValueError for an answer that is not the text of its trace.
    """

    feedback: Feedback
    critic: Critic
    decode: Decode

    @property
    def needs(self) -> Words:
        return words("answer", "tokens") | self.feedback.needs

    @property
    def gives(self) -> Words:
        return words("spans", "critique") | self.feedback.gives

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        attempts = {a.id: a for a in group.attempts}
        judgements = await self.feedback(group)
        traces = {j.attempt: answer_trace(attempts[j.attempt]) for j in judgements if j.score is not None and j.trace is None}
        texts = list(dict.fromkeys(t.text for t in traces.values()))
        known = dict(zip(texts, await asyncio.gather(*(self.critic(group.task, text) for text in texts)), strict=True))

        def criticised(j: Judgement) -> Judgement:
            trace = traces.get(j.attempt) if j.trace is None else None
            critique = known[trace.text] if trace else None
            return j if trace is None or critique is None else self.marked(j, trace, critique)

        return [criticised(j) for j in judgements]

    def marked(self, judgement: Judgement, trace: Trace, critique: Critique) -> Judgement:
        text, end = trace.text, len(trace.tokens)
        missing = any(start == len(text) for start, *_ in critique.parts)

        def after(at: int) -> int:
            """Where a part that ends here ends in tokens: the blanks that follow it are its own, and so is the end of turn."""
            at += len(text[at:]) - len(text[at:].lstrip())
            return end if at == len(text) and not missing else self.boundary(trace, at)

        starts = [self.boundary(trace, start) for start, *_ in critique.parts]
        ends = [end if start == len(text) else after(stop) for start, stop, _ in critique.parts]
        values = [v for *_, v in critique.parts]
        spans = tuple(Span(trace.id, s, e, v) for s, e, v in zip(starts, ends, values, strict=True) if s < e)
        counts = {"parts": float(len(values)), "right_parts": float(sum(values))}
        return replace(judgement, spans=spans, critique=critique.text, components={**judgement.components, **counts})

    def boundary(self, trace: Trace, at: int) -> int:
        """The first token of the trace that shows nothing of the first ``at`` characters of its text."""
        drawn = trace.tokens[trace.start :]
        return trace.start + bisect_left(range(len(drawn)), at, key=lambda n: len(self.decode(drawn[:n])))
