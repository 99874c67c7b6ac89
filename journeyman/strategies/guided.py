"""RLGF's expert: an answer that a guide begins or ends."""

from __future__ import annotations

from dataclasses import dataclass

from journeyman.protocols import Schedule, View, value, words
from journeyman.runner import use
from journeyman.strategies.prefix import cut, dice
from journeyman.types import Answer, Question


@dataclass(frozen=True)
class guided:
    """An answer in two parts by two policies: the first h tokens are of one's own answer of L tokens, the other goes on from there.

    With probability ``mixing`` h is uniform on 1 to L - 1, else 0, and the answer is all of the one who ends it. ``guide_first`` 1:
    the guide begins and the policy ends (PPO++, a roll-in by the guide); 0: the policy begins and the guide ends (AggreVaTeD, a
    roll-out by the guide); ``lots(0.8)``: one or the other at each step of the run (LOLS); ``after(20)``: first the second, later
    the first (D2LOLS). The credit ``outcome_of`` learns what the policy drew, whichever part that is.

    ``guide`` is a policy of the run with a name and weights of its own and the same tokenizer.

    RLGF [S170], Chang et al. 2023, arXiv 2306.11816 (mixing 0.8; 0.6 and 1 on some tasks).
    """

    guide_first: float | Schedule = 1.0
    mixing: float = 0.8
    guide: View | use = use("guide")
    needs = words("tokens")
    gives = words("answer")

    def __post_init__(self) -> None:
        first = self.guide_first
        if not 0 <= self.mixing <= 1 or (isinstance(first, int | float) and first not in (0, 1)):
            raise ValueError(
                f"guided has guide_first={first}, mixing={self.mixing}; expected guide_first 0, 1 or a schedule such as lots(0.8), "
                "and mixing from 0 to 1"
            )

    async def __call__(self, question: Question, policy: View) -> Answer:
        if isinstance(self.guide, use):
            raise ValueError(f"guided has no guide; run it with a Runner, which puts the run's policy {self.guide.name!r} there")
        begins, ends = (self.guide, policy) if value(self.guide_first) else (policy, self.guide)
        opening = await begins.sample(question.prompt)
        rng, h = dice(opening.id), 0
        if rng.random() < self.mixing and opening.sampled_tokens > 1:
            h = rng.randint(1, opening.sampled_tokens - 1)
        prefix = cut(opening, opening.start + h, begins.decode)
        whole = await ends.extend(prefix, max_tokens=opening.sampling.max_tokens - h)
        return Answer(ends.decode(whole.tokens[opening.start :]), whole.id)
