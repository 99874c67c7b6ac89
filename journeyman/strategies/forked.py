"""G2RPO on tokens: answers that differ from each other by one draw alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from journeyman.protocols import View, words
from journeyman.runner import Check
from journeyman.scope import gather, report
from journeyman.strategies.prefix import cut, dice
from journeyman.types import Answer, Question, Trace


@dataclass(frozen=True)
class forked:
    """The greedy answer, and ``ways`` more that part from it at one random place: there ``step`` tokens are drawn at the run's
    temperature, and what follows is greedy again, so that their scores differ by that draw alone.

    The place is uniform in the first ``share`` of the greedy answer. Each way is judged once for each of ``budgets`` (tokens of
    the whole answer, rising; the last is the limit of sampling), cut there: marks on the trace of its draw are ``views``, with the
    scores as "budget_N", and ``branch_score``, that of the last. ``over_branches(summed_views(...))`` learns the draws. An oracle;
    the answer is the greedy one.

    After [S173] Zhou et al. 2025, arXiv 2510.01982, whose randomness is one denoising step of a flow model (12 directions, the
    first half of the steps, three granularities). Differs from the paper in everything else: draws of a text are our
    extrapolation. What is learned from greedy continuations is not what sampling from the policy would give.
    """

    budgets: tuple[int, ...]
    ways: int = 12
    step: int = 1
    share: float = 0.5
    needs = words("oracle", "tokens")
    gives = words("answer", "branch_score")

    def __post_init__(self) -> None:
        if self.ways < 2 or self.step < 1 or not 0 < self.share <= 1:
            raise ValueError(
                f"forked has ways={self.ways}, step={self.step}, share={self.share}; expected at least 2 ways, 1 token and a share "
                "above 0 and at most 1"
            )
        if not self.budgets or self.budgets[0] < 1 or any(a >= b for a, b in pairwise(self.budgets)):
            raise ValueError(f"forked has budgets={self.budgets}; expected rising numbers of tokens such as (48, 96, 192)")

    async def __call__(self, question: Question, policy: View, check: Check) -> Answer:
        greedy = await policy.sample(question.prompt, temperature=0.0, max_tokens=self.budgets[-1])
        answer = Answer(greedy.text, greedy.id)
        report(answer)
        early = max(1, math.ceil(self.share * greedy.sampled_tokens))
        prefix = cut(greedy, greedy.start + dice(greedy.id).randrange(early), policy.decode)
        others = await gather(self.way(prefix, policy, check) for _ in range(self.ways))
        return replace(answer, candidates=(answer, *others))

    async def way(self, prefix: Trace, policy: View, check: Check) -> Answer:
        limit = prefix.start + self.budgets[-1]
        drawn = whole = await policy.extend(prefix, max_tokens=min(self.step, limit - len(prefix.tokens)))
        if drawn.stop_reason == "length" and len(drawn.tokens) < limit:
            whole = await policy.extend(drawn, temperature=0.0, max_tokens=limit - len(drawn.tokens))
        texts = [policy.decode(whole.tokens[prefix.start : prefix.start + n]) for n in self.budgets]
        different = list(dict.fromkeys(texts))
        judged = await gather((check(Answer(text, whole.id)) for text in different), strict=True)
        scores = {text: j.score for text, j in zip(different, judged, strict=True)}
        views = {f"budget_{n}": scores[text] for n, text in zip(self.budgets, texts, strict=True)}
        policy.mark(drawn, "views", views)
        policy.mark(drawn, "branch_score", None if None in views.values() else scores[texts[-1]])
        return Answer(texts[-1], whole.id)
