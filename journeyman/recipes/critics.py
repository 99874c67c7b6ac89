"""What recipes that learn from critiques share: from what a user may write to the critic, and to the part that asks it."""

from __future__ import annotations

from pathlib import Path

from journeyman.feedback import step_checked
from journeyman.feedback.by_policy import by_policy
from journeyman.feedback.critics import by_solver
from journeyman.feedback.critique import Critic
from journeyman.policies import load_policy
from journeyman.protocols import Feedback, Tasks
from journeyman.run import Policies
from journeyman.runner import gold_text, use
from journeyman.strategies import critiqued
from journeyman.strategies.critiques import told, written
from journeyman.tasks.solvers import SOLVERS

CRITIQUES = ("indicative", "truth", "truth+solver", "solver", "self")


def critic_of(critic: str | Critic, tasks: Tasks, later: float | None = None) -> Critic:
    """ "solver" (the exact step checker of generated tasks), a model's folder or "base" (that model, asked to verify), or a critic
    already made. ValueError where the first task is of no family with a solver."""
    if not isinstance(critic, str):
        return critic
    if critic != "solver":
        return by_policy(load_policy(critic, name="critic"))
    return solver_of(tasks, "critic is 'solver'", "critic='base' (a model that verifies)", later)


def solver_of(tasks: Tasks, found: str, write: str, later: float | None = None) -> by_solver:
    """The exact step checker; where it does not know the first task, a ValueError with what was written and what to write."""
    if tasks[0].source not in SOLVERS:
        raise ValueError(
            f"{found}, but no exact step checker knows task {tasks[0].id} (source {tasks[0].source!r}); write {write}, or tasks of "
            f"the families {', '.join(sorted(SOLVERS))}"
        )
    return by_solver(later)


def refining(critique: str | Critic, tasks: Tasks, again: str) -> critiqued:
    """The conversation in which a wrong answer hears ``again`` and a critique: none ("indicative"), the gold answer ("truth"; with
    "truth+solver" right refinements with a step that the exact checkers find wrong are left out), the first wrong step ("solver"),
    what the run's own policy ("self") or another model (its folder, or "base") writes, or the words of a critic already made.
    ValueError for another name, and where the first task has no such critic."""
    if not isinstance(critique, str):
        return critiqued(critique, again=again)
    if critique == "indicative":
        return critiqued(again=again)
    if critique in ("truth", "truth+solver"):
        if gold_text(tasks[0]) is None:
            raise ValueError(f"critique is {critique!r}, but task {tasks[0].id} has no gold answer as a text; write 'indicative'")
        verify = solver_of(tasks, "critique is 'truth+solver'", "critique='truth'") if critique == "truth+solver" else None
        return critiqued(told(), verify, again=again)
    if critique == "solver":
        return critiqued(solver_of(tasks, "critique is 'solver'", "critique='base' (a model that writes it)"), again=again)
    if critique == "self":
        return critiqued(written(use("policy")), again=again)
    if critique != "base" and not Path(critique).expanduser().exists():
        raise ValueError(f"critique is {critique!r}, expected {', '.join(CRITIQUES)}, base, or the path of a model folder")
    return critiqued(written(load_policy(critique, name="critic")), again=again)


def criticised(feedback: Feedback, critic: Critic, policies: Policies) -> step_checked:
    """The feedback, and the critic's view put at the tokens of the one policy."""
    return step_checked(feedback, critic, policies["policy"].decode)
