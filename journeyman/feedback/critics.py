"""Critics: ``await critic(task, text)`` says which parts of a text are right. Any async function of that shape is one.

``step_checked`` asks a critic and puts what it says at the tokens. None is an abstention: the critic has no view.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

from journeyman.prompts import ASK_VERIFY
from journeyman.protocols import Policy
from journeyman.scope import seed_of
from journeyman.tasks.gym import entry_of
from journeyman.tasks.solvers import SOLVERS, split_steps
from journeyman.types import Sampling, Task

Rule = Literal["all", "majority", "mean"]
_VERDICT = re.compile(r"^\s*(\d{1,4}):.*\b(right|wrong)\s*$", re.MULTILINE)
_CALLS = count()  # a critic's calls need names of their own; seeds come from what is asked


@dataclass(frozen=True)
class Critique:
    """Values in [0, 1] (1 right, 0 wrong) of parts of a text as (start, end, value) in characters, in order, and the critic's
    words. A part that is missing at the end of the text is (length, length, value)."""

    parts: tuple[tuple[int, int, float], ...]
    text: str = ""


Critic = Callable[[Task, str], Awaitable[Critique | None]]


def of_steps(text: str, values: Sequence[float | None], words: str = "") -> Critique:
    """The critique of a text's steps (``split_steps``) by their values, None where a step was not judged. One value more than
    there are steps is that of the step that is missing."""
    places: list[tuple[int, int]] = []
    at = 0
    for step in split_steps(text):
        begin = text.index(step, at)
        at = begin + len(step)
        places.append((begin, at))
    places.append((len(text), len(text)))
    found = [(*place, v) for place, v in zip(places, values, strict=False) if v is not None]
    return Critique(tuple(found), words)


@dataclass(frozen=True)
class by_solver:
    """The exact step checker of the task's family: 1 for each step before the first wrong one, 0 for that one, and ``later``
    for those after it (None: not judged; 0: wrong like all that builds on an error, as process reward models see it).

    Abstains on tasks of no family with a solver. Costs no model call.
    """

    later: float | None = None

    async def __call__(self, task: Task, text: str) -> Critique | None:
        if task.source not in SOLVERS:
            return None
        steps, wrong = split_steps(text), SOLVERS[task.source].first_wrong_step(entry_of(task), text)
        if wrong is None:
            return of_steps(text, [1.0] * len(steps), "every step is right")
        values = [1.0] * wrong + [0.0] + [self.later] * (len(steps) - wrong - 1)
        what = f"step {wrong + 1} is wrong: {steps[wrong]}" if wrong < len(steps) else "the answer is missing"
        return of_steps(text, values, what)


@dataclass(frozen=True)
class new_steps:
    """0 for a step that an earlier step of the same text already says, blanks and case aside, else 1: padding is irrelevant."""

    async def __call__(self, task: Task, text: str) -> Critique | None:
        said = [" ".join(step.casefold().split()) for step in split_steps(text)]
        return of_steps(text, [float(step not in said[:k]) for k, step in enumerate(said)])


@dataclass(frozen=True, init=False)
class weighed:
    """Several critics at once, each with a weight w in [0, 1]: ``weighed((by_solver(), 0.5), (new_steps(), 0.3))``.

    A part keeps its place; its value becomes (1 + w (2 v - 1)) / 2, so that 2 v - 1 is worth w. Abstains where all do.
    """

    critics: tuple[tuple[Critic, float], ...]

    def __init__(self, *critics: tuple[Critic, float]) -> None:
        if not critics or not all(0 <= w <= 1 for _, w in critics):
            raise ValueError(
                "weighed expects critics with weights from 0 to 1; write weighed((by_solver(), 0.5), (new_steps(), 0.3))"
            )
        object.__setattr__(self, "critics", critics)

    async def __call__(self, task: Task, text: str) -> Critique | None:
        found = [(c, w) for critic, w in self.critics if (c := await critic(task, text)) is not None]
        parts = sorted((start, end, (1 + w * (2 * v - 1)) / 2) for c, w in found for start, end, v in c.parts)
        return Critique(tuple(parts), "\n\n".join(c.text for c, _ in found if c.text)) if found else None


@dataclass(frozen=True)
class by_policy:
    """A model as critic: asked ``ask`` about the task and the text, it writes ``1: ... right`` or ``2: ... wrong`` for each step,
    as the packaged base model was taught (role "verify").

    With several ``critiques`` a step is wrong when all of them say so ("all"), when more than half do ("majority"), or to the
    share that does ("mean"); a critique that does not name a step does not call it wrong. Steps that none names are not judged;
    abstains where nothing can be read. ``temperature`` 0 is greedy, so several critiques need more. What it draws follows from
    the task and the text. Its tokens are in no attempt's cost. Raises where task and text do not fit its context.
    """

    policy: Policy
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
        sampling = Sampling(self.max_tokens, self.temperature)
        seeds = [seed_of("critic", task.id, text, str(k)) for k in range(self.critiques)]
        calls = [self.policy.sample(prompt, sampling, id=f"critic/{next(_CALLS)}:0", seed=s, role="critic") for s in seeds]
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
