"""STaR's expert: try plainly; if wrong, try again with the answer as a hint."""

from __future__ import annotations

from dataclasses import dataclass

from journeyman.protocols import Strategy, View, words
from journeyman.runner import Check
from journeyman.strategies.sample import sample
from journeyman.types import Answer, Prompt, Question


@dataclass(frozen=True)
class rationalize:
    """A first answer of ``inner``; where the truth says it is wrong, one sample from the prompt with ``hint`` put under
    the last user message. Credit puts the rationale under the plain prompt, so that the hint is never learned from.

    STaR (Zelikman et al. 2022, arXiv 2203.14465), steps 1 to 3. Differs from the paper in the wording of the hint and in
    sampling both tries at the run's temperature (low temperature is a setting of the run).
    """

    inner: Strategy = sample()
    hint: str = "Hint: the answer is {answer}. Show the steps that lead to it."
    needs = words("oracle")
    gives = words("answer", "hinted")

    def __post_init__(self) -> None:
        if "{answer}" not in self.hint:
            raise ValueError(f"rationalize has hint={self.hint!r}, expected a text that contains {{answer}}")

    async def __call__(self, question: Question, policy: View, check: Check) -> Answer:
        plain = await self.inner(question, policy)
        gold = check.hint()
        if gold is None or (await check(plain)).score == 1.0:
            return plain
        trace = await policy.sample(self.with_hint(question.prompt, gold), role="rationalizer")
        policy.mark(trace, "hinted", True)
        return Answer(trace.text, trace.id, candidates=(plain,))

    def with_hint(self, prompt: Prompt, gold: str) -> Prompt:
        *before, last = prompt
        return (*before, {**last, "content": f"{last['content']}\n{self.hint.format(answer=gold)}"})
