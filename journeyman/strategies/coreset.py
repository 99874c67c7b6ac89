"""RepExp's choice: of many answers, those that are least alike."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from journeyman.credit.novelty import projected, unlike
from journeyman.protocols import Strategy, View, words
from journeyman.scope import gather, report
from journeyman.strategies.prefix import dice
from journeyman.strategies.sample import sample
from journeyman.strategies.vote import tally
from journeyman.types import Answer, Question


class Embeds(Protocol):
    def embed(self, text: str) -> Awaitable[tuple[float, ...]]: ...


@dataclass(frozen=True)
class coreset:
    """n answers of ``inner``, of which ``keep`` are kept, a random one first and then each time the one whose vector is newest to
    those taken (``novelty.unlike``), after a projection to ``width`` dimensions. The kept are the candidates in that order, and
    they vote. A verifier that can look at few answers then sees different ones.

    ``reader`` is a policy that makes vectors of texts, such as ``Reading``. [S121] Tuyls et al. 2025, arXiv 2510.11686 (512
    dimensions, lam 0.01). Differs from the paper in that a vector is of the answer's text alone (the mean hidden state of the
    answer after its question there).
    """

    reader: Embeds
    n: int = 16
    keep: int = 4
    width: int = 512
    lam: float = 0.01
    inner: Strategy = sample()
    needs = words()
    gives = words("answer")

    def __post_init__(self) -> None:
        if not 1 <= self.keep <= self.n or not self.lam > 0:
            raise ValueError(f"coreset has n={self.n}, keep={self.keep}, lam={self.lam}; expected 1 <= keep <= n and lam above 0")

    async def __call__(self, question: Question, policy: View) -> Answer:
        answers = await gather(self.inner(question, policy) for _ in range(self.n))
        report(answers[0])
        vectors = await gather((self.reader.embed(a.text) for a in answers), strict=True)
        rng = dice("coreset")
        h = projected(np.array(vectors), self.width, str(rng.random()))
        return tally([answers[i] for i in unlike(h, self.keep, rng.randrange(len(answers)), self.lam)], question)
