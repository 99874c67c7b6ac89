"""CURE's expert: answers that part from the first one where the policy was unsure."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from journeyman.protocols import View, words
from journeyman.runner import Check
from journeyman.scope import gather, report
from journeyman.strategies.prefix import Decode, cut, dice
from journeyman.types import Answer, Question, Trace


class Reads(Protocol):
    def evaluate(self, tokens: Sequence[int], head: str) -> Awaitable[tuple[float, ...]]: ...


@dataclass(frozen=True)
class branched:
    """An answer, and ``branches`` more that copy it up to one of its uncertain tokens and are drawn from there, that token too.

    Of the answer's tokens in the order of falling entropy, the first ``top`` that may be left are candidates: not the first token,
    no end token, none whose text without blanks has fewer than ``letters`` characters. One of them is taken at random; an answer
    without one has no branches. A branch may be as long as the answer might have been. Each answer's score is marked on its trace
    as ``branch_score`` (an oracle); ``over_branches`` makes siblings of them. The answer is the first one, drawn plainly.

    ``reader`` is a policy that gives the entropy at each token, ``evaluate(tokens, "entropy")``, such as ``Reading``.

    CURE [S060], stage 1: Li et al. 2025, arXiv 2508.11016 (4 answers of 3 branches, top 20, 2 letters). Differs from the paper in
    its code's cutting of long prefixes, which is not needed here. Entropies are those at temperature 1.
    """

    reader: Reads
    branches: int = 3
    top: int = 20
    letters: int = 2
    needs = words("oracle", "tokens")
    gives = words("answer", "branch_score")

    def __post_init__(self) -> None:
        if self.branches < 1 or self.top < 1 or self.letters < 1:
            raise ValueError(
                f"branched has branches={self.branches}, top={self.top}, letters={self.letters}; expected at least 1 of each"
            )

    async def __call__(self, question: Question, policy: View, check: Check) -> Answer:
        first = await policy.sample(question.prompt)
        answer = Answer(first.text, first.id)
        report(answer)
        policy.mark(first, "branch_score", (await check(answer)).score)
        places = self.candidates(first, await self.reader.evaluate(first.tokens, "entropy"), policy.decode)
        if not places:
            return answer
        prefix = cut(first, dice(first.id).choice(places), policy.decode)
        others = await gather(self.branch(prefix, policy, check) for _ in range(self.branches))
        return replace(answer, candidates=(answer, *others))

    def candidates(self, trace: Trace, entropy: Sequence[float], decode: Decode) -> list[int]:
        """The places in a trace where a branch may begin, the most uncertain first; ``entropy`` (L) in nats."""
        order = sorted(range(trace.start + 1, len(trace.tokens)), key=lambda t: -entropy[t])
        return [t for t in order if len(decode(trace.tokens[t : t + 1]).strip()) >= self.letters][: self.top]

    async def branch(self, prefix: Trace, policy: View, check: Check) -> Answer:
        trace = await policy.extend(prefix, max_tokens=prefix.sampling.max_tokens - prefix.sampled_tokens)
        answer = Answer(prefix.text + trace.text, trace.id)
        policy.mark(trace, "branch_score", (await check(answer)).score)
        return answer
