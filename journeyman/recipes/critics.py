"""What recipes that learn from critiques share: from what a user may write to the critic, and the feedback that asks it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from journeyman.feedback import step_checked
from journeyman.feedback.by_policy import by_policy
from journeyman.feedback.critics import by_solver
from journeyman.feedback.critique import Critic
from journeyman.policies import load_policy
from journeyman.protocols import Feedback, Tasks, Trainable
from journeyman.run import Policies
from journeyman.tasks.solvers import SOLVERS


class Decodes(Protocol):
    def decode(self, tokens: Sequence[int]) -> str: ...


@runtime_checkable
class Chats(Protocol):
    """A policy whose tokenizer is at hand (``policies.Chat``)."""

    chat: Decodes


def critic_of(critic: str | Critic, tasks: Tasks, later: float | None = None) -> Critic:
    """ "solver" (the exact step checker of generated tasks), a model's folder or "base" (that model, asked to verify), or a critic
    already made. ValueError where the first task is of no family with a solver."""
    if not isinstance(critic, str):
        return critic
    if critic != "solver":
        return by_policy(load_policy(critic, name="critic"))
    if tasks[0].source not in SOLVERS:
        raise ValueError(
            f"critic is 'solver', but no exact step checker knows task {tasks[0].id} (source {tasks[0].source!r}); write "
            f"critic='base' (a model that verifies), or tasks of the families {', '.join(sorted(SOLVERS))}"
        )
    return by_solver(later)


def criticised(feedback: Feedback, critic: Critic, policies: Policies) -> step_checked:
    """The feedback, and the critic's view put at the tokens of the one policy."""
    return step_checked(feedback, critic, partial(text_of, policies["policy"]))


def text_of(policy: Trainable, tokens: Sequence[int]) -> str:
    """The text of tokens that the policy drew, a final end token left out; ValueError where it has no tokenizer at hand."""
    if not isinstance(policy, Chats):
        raise ValueError(f"{type(policy).__name__} has no tokenizer (chat) to place spans with; write a Decoder or HF policy")
    return policy.chat.decode(tokens)
