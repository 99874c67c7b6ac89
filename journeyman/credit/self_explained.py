"""ExPO: what the model says when it is told the answer is learned as if it had not been told."""

from __future__ import annotations

from dataclasses import dataclass, replace

from journeyman.credit.group_relative import group_zscore
from journeyman.credit.hinted import first_answer, was_hinted
from journeyman.protocols import Credit, Render, Words, words
from journeyman.types import Attempt, Group, Judgement, Lesson


@dataclass(frozen=True)
class self_explained:
    """The inner credit on the answers given without a hint, and at most ``keep`` explanations of a group: answers given with the
    true one as a hint, put under the plain prompt, with advantage beta * tokens * siblings at each token.

    So that under ``sequence_mean`` a group adds what the paper's objective has: the mean over siblings of the inner credit's terms
    + beta * log pi(explanation | plain prompt), summed over tokens. An explanation is kept if its own answer is right (score >=
    ``threshold``) and it says none of the words ``reveals``; the earlier attempt first. It is no sibling. An attempt that was
    hinted had a first answer that was not right: it counts as a sibling of score 0.

    ExPO (ExP-GRPO): [S021] Zhou et al. 2025, arXiv 2507.02834 (beta 0.04). With ``over_old``: an explanation's ratio is 1 in the
    first optimiser step of its lessons. Differs from the paper in that only tasks with a wrong answer are explained (all there),
    and in that explanations count in the denominator, which scales both terms alike.
    """

    inner: Credit = group_zscore()
    beta: float = 0.04
    keep: int = 1
    threshold: float = 1.0
    reveals: tuple[str, ...] = ("hint", "given answer")
    policy: str = "policy"

    def __post_init__(self) -> None:
        if self.keep < 0 or not self.beta >= 0 or isinstance(self.reveals, str):
            raise ValueError(
                f"self_explained has beta={self.beta}, keep={self.keep}, reveals={self.reveals!r}; expected numbers of at "
                "least 0 and a tuple of words"
            )

    @property
    def needs(self) -> Words:
        return words("score", "hinted") | self.inner.needs

    @property
    def gives(self) -> Words:
        return self.inner.gives - words("behaviour_logp")

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        hinted = {a.id for a in group.attempts if was_hinted(a)}
        plain = tuple(first_answer(a) if a.id in hinted else a for a in group.attempts)
        others = tuple(j for j in group.judgements if j.attempt not in hinted)
        wrong = tuple(Judgement(a.id, 0.0) for a in plain if a.id in hinted)
        made = self.inner(replace(group, attempts=plain, judgements=(*others, *wrong)), render)
        siblings = len(made)
        explained = sorted((a for a in group.attempts if a.id in hinted and self.good(group, a)), key=lambda a: a.id)
        for a in explained[: self.keep]:
            text = a.answer.text if a.answer else ""
            tokens, train = render([*group.task.prompt, {"role": "assistant", "content": text}], self.policy)
            share = self.beta * sum(train) * max(siblings, 1)
            credit, name = tuple(share * t for t in train), f"{a.id}/explanation"
            made.append(Lesson(tokens, train, credit, policy=self.policy, group=group.id, attempt=name))
        return made

    def good(self, group: Group, attempt: Attempt) -> bool:
        judgement, text = group.judgement(attempt), attempt.answer.text.casefold() if attempt.answer else ""
        right = judgement is not None and judgement.score is not None and judgement.score >= self.threshold
        return right and not any(word.casefold() in text for word in self.reveals)
