"""Verifiers of one constraint: ``await verify(task, text, constraint)`` says how far a text meets it: 1 (in full), 0.5 (in part), 0
(not at all), None (no view). Any async function of that shape is one; ``checklist`` asks it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import cast

from journeyman.protocols import Policy, View
from journeyman.types import Prompt, Task, user

Verifier = Callable[[Task, str, str], Awaitable[float | None]]
ASK_CONSTRAINT = "Does the text meet this constraint? Answer with one word: full, partial or none."
LABELS: Mapping[str, float] = {"full": 1.0, "partial": 0.5, "none": 0.0}
_LABEL = re.compile(r"\b(full|partial|none)\b", re.IGNORECASE)


@dataclass(frozen=True)
class by_rules:
    """Each constraint by a function of the text, under the constraint's own words: ``by_rules({"ends politely": polite})``.
    Abstains on a constraint that has none."""

    rules: Mapping[str, Callable[[str], float]]

    async def __call__(self, task: Task, text: str, constraint: str) -> float | None:
        return float(self.rules[constraint](text)) if constraint in self.rules else None


@dataclass(frozen=True)
class asked:
    """A model as verifier: shown the task, the text and one constraint, it says full, partial or none; abstains where it says
    none of these words, or several. To be called by the runner, which counts and seeds its calls."""

    policy: Policy | View  # the runner puts a recording view in the policy's place
    temperature: float = 0.0
    max_tokens: int = 16
    ask: str = ASK_CONSTRAINT

    async def __call__(self, task: Task, text: str, constraint: str) -> float | None:
        parts = (f"Task: {question(task.prompt)}", f"Text: {text}", f"Constraint: {constraint}", self.ask)
        view = cast(View, self.policy)
        prompt = user("\n\n".join(parts))
        trace = await view.sample(prompt, role="verifier", max_tokens=self.max_tokens, temperature=self.temperature)
        found = {x.lower() for x in _LABEL.findall(trace.text)}
        return LABELS[found.pop()] if len(found) == 1 else None


def question(prompt: Prompt) -> str:
    """The last message of a prompt, as one text."""
    return prompt[-1]["content"].strip()
