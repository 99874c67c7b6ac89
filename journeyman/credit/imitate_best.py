"""Expert iteration's credit: the expert's good answers, put under the plain prompt, are imitated."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from journeyman.protocols import Render, Schedule, value, words
from journeyman.types import Group, Lesson


@dataclass(frozen=True)
class imitate_best:
    """The attempts whose score is at least ``threshold``, at most ``keep`` of a group, as lessons: task prompt + answer text,
    rendered anew, advantage 1 at the answer's tokens.

    Distinct texts come before repeats; then the higher score, the shorter text, the earlier attempt. ``distinct`` is a
    function of the text such as ``equation_list``: of answers it finds equal one is kept. ``even`` weighs each lesson by
    1 / number kept, so that every solved task counts the same. No behaviour_logp: the tokens are not those that were
    sampled. What the expert saw besides the task (a hint, a failed try) is not in the prompt, so it cannot leak.

    STaR: Zelikman et al. 2022, arXiv 2203.14465 (keep=1). ReST-EM: Singh et al. 2023, arXiv 2312.06585 (keep=10). RFT: Yuan
    et al. 2023, arXiv 2308.01825 (distinct=equation_list). Differs from RFT in not checking the equations' arithmetic.
    """

    keep: int = 1
    threshold: float | Schedule = 1.0
    distinct: Callable[[str], Hashable] | None = None
    even: bool = False
    policy: str = "policy"
    needs = words("score")
    gives = words("lessons", "advantage", "term.sft")

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise ValueError(f"imitate_best has keep={self.keep}, expected at least 1")

    def __call__(self, group: Group, render: Render) -> list[Lesson]:
        chosen = self.choose(group)
        return [self.lesson(group, i, 1 / len(chosen) if self.even else 1.0, render) for i in chosen]

    def choose(self, group: Group) -> list[int]:
        """Which attempts are kept, best first."""
        good = [
            (-score, len(a.answer.text), i, a.answer.text)
            for i, (a, score) in enumerate(zip(group.attempts, group.scores(), strict=True))
            if a.answer is not None and score is not None and score >= value(self.threshold)
        ]
        first: list[int] = []
        repeats: list[int] = []
        seen: set[Hashable] = set()
        for *_, i, text in sorted(good):
            key = self.distinct(text) if self.distinct else text
            (repeats if key in seen else first).append(i)
            seen.add(key)
        return (first if self.distinct else first + repeats)[: self.keep]

    def lesson(self, group: Group, i: int, weight: float, render: Render) -> Lesson:
        attempt = group.attempts[i]
        text = attempt.answer.text if attempt.answer else ""
        tokens, train = render([*group.task.prompt, {"role": "assistant", "content": text}], self.policy)
        return Lesson(
            tokens=tokens,
            train=train,
            advantage=tuple(map(float, train)),
            policy=self.policy,
            term="sft",
            weight=weight,
            group=group.id,
            attempt=attempt.id,
        )
