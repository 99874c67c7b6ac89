"""A run: one of each part, checked before any work, saved and resumed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from journeyman.fill import fill
from journeyman.protocols import Credit, Curriculum, Learner, Policy, Schedule, Trainable, Words, gives_of, needs_of, words
from journeyman.runner import Forgetful, Memory, Runner, all_needs, nested
from journeyman.types import Group, Lesson, Message

Action = Callable[["Run", int, Sequence[Group], dict[str, float]], Awaitable[None]]


class Misfit(ValueError):
    """Parts that do not fit together: what was found, what was expected, what to write instead."""


class Policies(dict[str, Trainable]):
    """The run's policies by name."""

    def snapshot(self) -> Mapping[str, Policy]:
        """What the actors of one step sample from."""
        return {name: policy.snapshot() for name, policy in self.items()}


class Learners(Mapping[str, Learner]):
    """One learner for each policy that learns."""

    def __init__(self, learners: Mapping[str, Learner]) -> None:
        self._learners = dict(learners)

    def __getitem__(self, name: str) -> Learner:
        return self._learners[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._learners)

    def __len__(self) -> int:
        return len(self._learners)

    def update(self, policies: Mapping[str, Trainable], lessons: Sequence[Lesson]) -> dict[str, float]:
        """Each learner's update on its policy's lessons. Metrics carry the policy's name when there are several."""
        metrics: dict[str, float] = {}
        for name, learner in self.items():
            own = learner.update(policies[name], [x for x in lessons if x.policy == name])
            metrics |= own if len(self) == 1 else {f"{name}/{k}": v for k, v in own.items()}
        return metrics


@dataclass
class Run:
    """One of each part, and the sizes. ``batch`` tasks a step; ``last`` the number of steps; ``refills`` how often a step
    may replace groups that were not admitted; ``actions`` the (period, action) pairs that ``every`` runs, each also
    after the last step. ``memory`` keeps attempts as they end (``store.Session``); without one a run cannot resume."""

    policies: Policies
    runner: Runner
    curriculum: Curriculum
    credit: Credit
    learners: Learners
    last: int = 100
    batch: int = 32
    refills: int = 0
    actions: list[tuple[int, Action]] = field(default_factory=list)
    memory: Memory = field(default_factory=Forgetful)
    done: int = 0  # steps finished (set by resume)
    started: float = 0.0  # when the current step began

    def check(self) -> None:
        """Refuse nonsense at assembly; raises ``Misfit`` with one line for the first part that does not fit."""
        check_sizes(self)
        check_words(self)

    def steps(self) -> Iterator[int]:
        """The steps still to do, counted from 1. An action may move ``last`` while they go on (``Spending``)."""
        while self.done < self.last:
            step = self.done + 1
            self.started = time.monotonic()
            self.memory.begin_step(step)
            yield step
            self.done = step

    def observe(self, groups: Sequence[Group]) -> None:
        """Show a step's groups, admitted or not, to the curriculum and to every schedule in a part's field."""
        self.curriculum.observe(groups)
        for schedule in self.schedules().values():
            schedule.observe(groups)

    def schedules(self) -> dict[str, Schedule]:
        """Every schedule that stands in a field of a part, by the order in which the parts are walked."""
        learners = [x for name in sorted(self.learners) for x in nested(self.learners[name])]
        inside = [vars(self.curriculum)[k] for k in vars(self.curriculum)]
        parts = [*inside, *nested(self.runner.strategy), *nested(self.runner.feedback), *nested(self.credit), *learners]
        found = {id(p): p for p in parts if isinstance(p, Schedule)}
        return {f"schedule{i}": s for i, s in enumerate(found.values())}

    def fill(self, group: Group) -> Group:
        """The group with the per-token streams that credit declared it needs from the models."""
        return fill(group, self.policies, needs_of(self.credit))

    def render(self, messages: Sequence[Message], policy: str = "policy") -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Messages -> tokens and the mask of the last assistant message, in the named policy's own format."""
        return self.policies[policy].render(messages)

    async def every(self, step: int, groups: Sequence[Group], metrics: dict[str, float]) -> None:
        """Run the actions whose period divides the step, and all of them after the last."""
        metrics["seconds"] = time.monotonic() - self.started
        for period, action in self.actions:
            if step % period == 0 or step == self.last:
                await action(self, step, groups, metrics)


# ---------------------------------------------------------------------------------------- check

WRITE = {
    "evaluate.value": "a policy with that head",
    "world": "tasks that have a world (a multi-turn environment)",
    "score": "a feedback such as exact(), math_equal() or gym()",
    "siblings": "siblings=8 (at least 2)",
    "tokens": "a policy with token ids (not a text-only endpoint)",
    "advantage": "a credit such as group_zscore(), leave_one_out() or imitate_best()",
    "behaviour_logp": "a credit that keeps the sampled tokens such as group_zscore(), or ratio=on_policy",
    "pairs": "a credit that gives pairs",
    "spans": "feedback=step_checked(...), which puts a critic's view at the steps",
    "reward": "a credit such as outcome()",
    "forward.value": "the learner actor_critic(Gradient(...))",
    "forward.anchor": "the learner anchored(Gradient(...))",
    "forward.logits": "a policy that gives whole distributions (any that runs here, not a server)",
    "term.sft": "a credit that gives term.sft such as imitate_best(), or leave the term out of mix(...)",
    "term.rl": "a credit that gives term.rl such as group_zscore(), or leave the term out of mix(...)",
}


def check_sizes(run: Run) -> None:
    """Sizes that no run can have."""
    sampling, budget = run.runner.sampling, run.runner.budget
    for name, found, least in (
        ("batch", run.batch, 1),
        ("steps", run.last, 1),
        ("refills", run.refills, 0),
        ("window", run.runner.window, 1),
        ("max_tokens", sampling.max_tokens, 1),
        ("temperature", sampling.temperature, 0),
        *(((f"budget {k}", v, 1)) for k, v in vars(budget).items() if v is not None),
        *(("the period of an action", period, 1) for period, _ in run.actions),
    ):
        if not found >= least:
            raise Misfit(f"{name} is {found}, expected at least {least}")
    if not 0 < sampling.top_p <= 1:
        raise Misfit(f"top_p is {sampling.top_p}, expected a number above 0 and at most 1")
    if run.runner.actor not in run.policies:
        raise Misfit(f"the actor is {run.runner.actor!r}, but the policies are {sorted(run.policies)}; name one of them")
    for name in run.learners:
        if name not in run.policies:
            raise Misfit(f"a learner is named {name!r}, but the policies are {sorted(run.policies)}; name one of them")


def check_words(run: Run) -> None:
    """Walk strategy -> feedback -> fill -> credit -> objective -> policy: each needs only what came before it."""
    policy: Words = words().union(*(p.gives for p in run.policies.values()))
    have: Words = policy | words("oracle", "answer") | gives_of(run.curriculum)
    have |= words("world") if run.runner.world else words()
    require("strategy", run.runner.strategy, all_needs(run.runner.strategy), have)
    have |= gives_of(run.runner.strategy)
    require("feedback", run.runner.feedback, needs_of(run.runner.feedback), have)
    have |= gives_of(run.runner.feedback) | frozenset(w.removeprefix("forward.") for w in policy)
    require("curriculum", run.curriculum, needs_of(run.curriculum), have)
    require("credit", run.credit, needs_of(run.credit), have)
    have |= gives_of(run.credit)
    for name, learner in run.learners.items():
        require(f"learner of {name!r}", learner, needs_of(learner), have | gives_of(learner))


def require(kind: str, part: Any, needs: Words, have: Words) -> None:
    """Refuse the first word that is needed and not there."""
    name = part.__name__ if isinstance(part, FunctionType) else type(part).__name__
    for word in sorted(needs - have):
        write = WRITE.get(word, f"a part that gives {word!r}")
        raise Misfit(f"{kind} {name} needs {word!r}, which nothing before it gives; write {write}")
