"""Critics that have words but judge no part: the gold answer, and what a policy writes. ``critiqued`` passes their words on.

Critics that judge steps are in ``feedback.critics`` and ``feedback.by_policy``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from journeyman.feedback.critique import Critique
from journeyman.prompts import ASK_VERIFY
from journeyman.protocols import Policy, View
from journeyman.runner import gold_text, use
from journeyman.types import Task


@dataclass(frozen=True)
class told:
    """Tells the gold answer: ``says`` with it in the place of {answer}. Abstains where the task has none that is a text."""

    says: str = "The right answer is {answer}."

    def __post_init__(self) -> None:
        if "{answer}" not in self.says:
            raise ValueError(f"told has says={self.says!r}, expected a text that contains {{answer}}")

    async def __call__(self, task: Task, text: str) -> Critique | None:
        gold = gold_text(task)
        return None if gold is None else Critique((), self.says.replace("{answer}", gold))


@dataclass(frozen=True)
class written:
    """What a policy writes when it is asked ``ask`` about the task and the text (role "critic"), whatever that is; ``by_policy``
    reads verdicts from the same. It does not see the gold answer. ``use("policy")``: the run's own policy as it is now.

    Raises where task and text do not fit its context. To be called within a Runner, which records, seeds and charges its call.
    """

    policy: Policy | View | use  # the runner puts a recording view in the policy's place
    temperature: float = 0.0
    max_tokens: int = 256
    ask: str = ASK_VERIFY[0]

    async def __call__(self, task: Task, text: str) -> Critique | None:
        if isinstance(self.policy, use):
            raise ValueError(f"written has no policy; run it with a Runner, which puts the run's policy {self.policy.name!r} there")
        *before, last = task.prompt
        prompt = (*before, {**last, "content": "\n\n".join(x.strip() for x in (last["content"], text, self.ask))})
        view = cast(View, self.policy)
        trace = await view.sample(prompt, role="critic", temperature=self.temperature, max_tokens=self.max_tokens)
        return Critique((), trace.text)
