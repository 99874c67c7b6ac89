"""A model as critic."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from journeyman.feedback.critique import Critique, of_steps
from journeyman.prompts import ASK_VERIFY
from journeyman.protocols import Policy, View
from journeyman.tasks.solvers import split_steps
from journeyman.types import Task

Rule = Literal["all", "majority", "mean"]
_VERDICT = re.compile(r"^\s*(\d{1,4}):.*\b(right|wrong)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class by_policy:
    """A model as critic: asked ``ask`` about the task and the text, it writes ``1: ... right`` or ``2: ... wrong`` for each step,
    as the packaged base model was taught (role "verify").

    With several ``critiques`` a step is wrong when all of them say so ("all"), when more than half do ("majority"), or to the
    share that does ("mean"); a critique that does not name a step does not call it wrong. Steps that none names are not judged;
    abstains where nothing can be read. ``temperature`` 0 is greedy, so several critiques need more. Raises where task and text do
    not fit its context. To be called by the runner, which counts its calls and seeds them by the group and their place in it.
    """

    policy: Policy | View  # the runner puts a recording view in the policy's place
    critiques: int = 1
    rule: Rule = "all"
    temperature: float = 0.0
    max_tokens: int = 256
    ask: str = ASK_VERIFY[0]

    def __post_init__(self) -> None:
        if self.critiques < 1 or (self.critiques > 1 and not self.temperature > 0) or self.rule not in ("all", "majority", "mean"):
            raise ValueError(
                f"by_policy has critiques={self.critiques}, temperature={self.temperature}, rule={self.rule!r}; expected "
                "at least 1 critique, for several a temperature above 0 (greedy ones are alike), and a rule all, majority or mean"
            )

    async def __call__(self, task: Task, text: str) -> Critique | None:
        *before, last = task.prompt
        prompt = (*before, {**last, "content": "\n\n".join(x.strip() for x in (last["content"], text, self.ask))})
        view, settings = cast(View, self.policy), {"max_tokens": self.max_tokens, "temperature": self.temperature}
        calls = [view.sample(prompt, role="critic", **settings) for _ in range(self.critiques)]
        said = [trace.text for trace in await asyncio.gather(*calls)]
        values = voted([verdicts(x) for x in said], self.rule)
        steps = len(split_steps(text))
        if not values.keys() & set(range(steps + 1)):
            return None
        return of_steps(text, [values.get(k) for k in range(steps + 1)], "\n\n".join(said))


def verdicts(said: str) -> dict[int, bool]:
    """Step (from 0) -> right, as a critique's lines say; the first line about a step counts."""
    found: dict[int, bool] = {}
    for number, verdict in _VERDICT.findall(said):
        found.setdefault(int(number) - 1, verdict == "right")
    return found


def voted(critiques: Sequence[Mapping[int, bool]], rule: Rule) -> dict[int, float]:
    """Step -> value of several critiques together (see ``by_policy``)."""
    values: dict[int, float] = {}
    for step in sorted({s for c in critiques for s in c}):
        wrong = sum(not c.get(step, True) for c in critiques) / len(critiques)
        values[step] = 1 - wrong if rule == "mean" else float(wrong < 1 if rule == "all" else wrong <= 0.5)
    return values
