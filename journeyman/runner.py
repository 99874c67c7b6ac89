"""Runs strategies: gives them recording views of the policies, holds their budgets, and turns failures into values."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol, cast

from journeyman.protocols import Feedback, Policy, Strategy, View, World, needs_of
from journeyman.scope import Budget, BudgetSpent, Meter, Scope, entered, here, seed_of
from journeyman.types import Answer, Assignment, Attempt, Cost, Group, Judgement, Prompt, Question, Sampling, Task, Trace, user


@dataclass(frozen=True)
class use:
    """In a field of a strategy: the run's policy of this name, ``refine(critic=use("critic"))``."""

    name: str


# ---------------------------------------------------------------------------------------- recording


class Recorder:
    """Everything one attempt spent."""

    def __init__(self, attempt: str, defaults: Sampling) -> None:
        self.attempt, self.defaults = attempt, defaults
        self.traces: dict[str, Trace] = {}
        self.marks: dict[str, dict[str, Any]] = {}
        self.cost = Cost()

    def finished(self) -> tuple[Trace, ...]:
        """Traces in the order of their paths, with what was marked on them."""
        marked = (replace(t, marks={**t.marks, **self.marks[t.id]}) if t.id in self.marks else t for t in self.traces.values())
        return tuple(sorted(marked, key=lambda t: [int(x) for x in t.id.rpartition(":")[2].split(".")]))


class RecordingView:
    """A policy as a strategy sees it (``protocols.View``). Its methods are not coroutines: each fixes the call's path,
    and with it the seed, at once, and returns what to await."""

    def __init__(self, policy: Policy, recorder: Recorder) -> None:
        self._policy, self._recorder, self.name = policy, recorder, policy.name

    @property
    def version(self) -> int:
        return self._policy.version

    def sample(self, prompt: Prompt, *, role: str = "solver", **settings: Any) -> Awaitable[Trace]:
        scope, path = here(), here().next()
        id, seed = f"{scope.attempt}:{path}", seed_of(scope.seed, path)
        sampling = self._sampling(settings)

        def call(sampling: Sampling) -> Coroutine[Any, Any, Trace]:
            return self._policy.sample(prompt, sampling, id=id, seed=seed, role=role)

        return self._spend(scope.meter, Trace(id, self.name, role, prompt, sampling=sampling), call)

    def extend(self, trace: Trace, *, text: str = "", turn: Prompt = (), role: str = "solver", **settings: Any) -> Awaitable[Trace]:
        scope, path = here(), here().next()
        id, seed = f"{scope.attempt}:{path}", seed_of(scope.seed, path)
        sampling = self._sampling(settings)

        def call(sampling: Sampling) -> Coroutine[Any, Any, Trace]:
            return self._policy.extend(trace, text, turn, sampling, id=id, seed=seed, role=role)

        return self._spend(scope.meter, Trace(id, self.name, role, turn, sampling=sampling, parent=trace.id), call)

    def logp(self, tokens: Sequence[int]) -> Awaitable[tuple[float, ...]]:
        return self._read(here().meter, len(tokens), self._policy.logp(tokens))

    def evaluate(self, tokens: Sequence[int], head: str = "value") -> Awaitable[tuple[float, ...]]:
        return self._read(here().meter, len(tokens), self._policy.evaluate(tokens, head))

    def embed(self, text: str) -> Awaitable[tuple[float, ...]]:
        return self._read(here().meter, len(self._policy.render(user(text))[0]), self._policy.embed(text))

    def decode(self, tokens: Sequence[int]) -> str:
        return self._policy.decode(tokens)

    def mark(self, trace: Trace, name: str, value: Any) -> None:
        self._recorder.marks.setdefault(trace.id, {})[name] = value

    def _sampling(self, settings: Mapping[str, Any]) -> Sampling:
        return replace(self._recorder.defaults, **{k: v for k, v in settings.items() if v is not None})

    def _charge(self, meter: Meter, prompt: int, sampled: int) -> None:
        meter.charge(prompt + sampled)
        self._recorder.cost += Cost(prompt, sampled, 1, float(prompt + sampled) * self._policy.parameters)

    async def _read(self, meter: Meter, tokens: int, call: Coroutine[Any, Any, tuple[float, ...]]) -> tuple[float, ...]:
        """A call that draws nothing: charged for what it reads, as if it were a prompt."""
        try:
            meter.enter_call()
        except BudgetSpent:
            call.close()
            raise
        self._charge(meter, tokens, 0)
        return await call

    async def _spend(self, meter: Meter, blank: Trace, call: Callable[[Sampling], Coroutine[Any, Any, Trace]]) -> Trace:
        """Dispatch one call if the budget allows, cap its length by what is left, record whatever comes of it."""
        meter.enter_call()
        room = meter.room()
        sampling = blank.sampling if room is None else replace(blank.sampling, max_tokens=min(blank.sampling.max_tokens, room))
        try:
            trace = await call(sampling)
        except BaseException as failure:
            stop = "cancelled" if isinstance(failure, asyncio.CancelledError) else "error"
            spent = self._policy.abandoned(blank.id)
            self._charge(meter, *spent)
            self._recorder.traces[blank.id] = replace(
                blank, stop_reason=stop, marks={"error": repr(failure)}, prompt_tokens=spent[0], sampled_tokens=spent[1]
            )
            raise
        self._recorder.traces[trace.id] = trace
        self._charge(meter, trace.prompt_tokens, trace.sampled_tokens)
        return trace


# ---------------------------------------------------------------------------------------- binding


class Check(Protocol):
    """The truth, for oracle strategies only, bound to one task."""

    def __call__(self, answer: Answer) -> Awaitable[Judgement]: ...
    def hint(self) -> str | None:
        """The gold answer as text, where the task has one."""
        ...

    def solution(self) -> str:
        """The worked solution; ValueError where the task has none."""
        ...


ARGUMENT = {"oracle": "check", "world": "world"}  # what a strategy needs -> the argument it is called with


@dataclass(frozen=True)
class Bound:
    """A strategy that needs more than a question and a policy, with that bound to it (made anew at each call)."""

    strategy: Callable[..., Awaitable[Answer]]
    extras: Mapping[str, Callable[[], Any]]

    def __call__(self, question: Question, policy: View) -> Awaitable[Answer]:
        return self.strategy(question, policy, **{name: make() for name, make in self.extras.items()})


def nested(part: Any) -> Iterator[Any]:
    """A part and everything in its fields, depth first."""
    yield part
    inner = part if isinstance(part, list | tuple) else ()
    if is_dataclass(part) and not isinstance(part, type):
        inner = tuple(getattr(part, f.name) for f in fields(part))
    for x in inner:
        yield from nested(x)


def all_needs(strategy: Any) -> frozenset[str]:
    """What a strategy and every strategy inside it need."""
    return frozenset().union(*map(needs_of, nested(strategy)))


def bind(part: Any, view: Callable[[Policy], View], policies: Mapping[str, Policy], able: Mapping[str, Callable]) -> Any:
    """A copy of a strategy or feedback whose policy-valued fields are recording views on one budget, and in which each strategy
    that needs a capability ("oracle", "world") has it bound. Parts that hold neither stay the same objects."""
    if isinstance(part, use):
        return view(policies[part.name])
    if isinstance(part, Policy):
        return view(part)
    if isinstance(part, list | tuple):
        items = [bind(x, view, policies, able) for x in part]
        return type(part)(items) if any(a is not b for a, b in zip(items, part, strict=True)) else part
    if is_dataclass(part) and not isinstance(part, type):
        old = {f.name: getattr(part, f.name) for f in fields(part) if f.init}
        new = {name: bind(x, view, policies, able) for name, x in old.items()}
        changed = {name: x for name, x in new.items() if x is not old[name]}
        part = replace(cast(Any, part), **changed) if changed else part
    extras = {ARGUMENT[word]: able[word] for word in sorted(needs_of(part) & ARGUMENT.keys())}
    return Bound(cast(Any, part), extras) if extras else part


# ---------------------------------------------------------------------------------------- attempts


@dataclass(frozen=True)
class TaskCheck:
    """The run's feedback on one task, as an oracle strategy may ask it (``Check``)."""

    feedback: Feedback
    task: Task

    async def __call__(self, answer: Answer) -> Judgement:
        attempt = Attempt("check", self.task.id, answer)
        return (await self.feedback(Group("check", Assignment(self.task), (attempt,))))[0]

    def hint(self) -> str | None:
        return gold_text(self.task)

    def solution(self) -> str:
        if self.task.solution is None:
            raise ValueError(f"task {self.task.id} has no worked solution")
        return self.task.solution


def gold_text(task: Task) -> str | None:
    """The gold answer as text: a string answer, or the "answer" entry of a mapping; None where there is none."""
    gold = task.answer.get("answer") if isinstance(task.answer, Mapping) else task.answer
    return gold if isinstance(gold, str) else None


def unwatched(done: int, total: int) -> None:
    """Nobody looks."""


@dataclass(frozen=True)
class Runner:
    """How attempts are made: one strategy, acted by one policy, judged by one feedback, on a window of live attempts.

    ``window`` bounds how many attempts live at once (oldest first), so that memory stays flat however many tasks wait.
    ``world`` makes the environment of a task for strategies that need one; ``watch`` is told (done, total) attempts.
    """

    strategy: Strategy
    feedback: Feedback
    actor: str = "policy"
    sampling: Sampling = Sampling()
    budget: Budget = Budget()
    seed: int = 0
    window: int = 512
    world: Callable[[Task], World] | None = None
    watch: Callable[[int, int], None] = unwatched

    async def attempt(self, policies: Mapping[str, Policy], assignment: Assignment, id: str) -> Attempt:
        """Run the strategy once. Whatever it raises, and running out of time or budget, becomes ``attempt.error``;
        a spent budget answers with what the strategy had reported, if anything."""
        task = assignment.task
        knobs = {k: v for k, v in assignment.knobs.items() if k in Sampling.__dataclass_fields__}
        recorder = Recorder(id, replace(self.sampling, **knobs))
        scope = Scope(id, seed_of(self.seed, id), Meter(self.budget))

        def view(policy: Policy) -> RecordingView:
            return RecordingView(policy, recorder)

        able: dict[str, Callable[[], Any]] = {"oracle": lambda: TaskCheck(bind(self.feedback, view, policies, {}), task)}
        if self.world is not None:
            make = self.world
            able["world"] = lambda: make(task)
        strategy = bind(self.strategy, view, policies, able)
        answer, error, started = None, None, time.monotonic()
        try:
            with entered(scope):
                async with asyncio.timeout(self.budget.seconds):
                    answer = await strategy(task.question, RecordingView(policies[self.actor], recorder))
            if not isinstance(answer, Answer):
                answer, error = None, f"the strategy returned {type(answer).__name__}, expected an Answer"
        except BudgetSpent as spent:
            answer = scope.reported
            error = None if answer else f"BudgetSpent: {spent}"
        except TimeoutError:
            answer = scope.reported
            error = None if answer else f"timed out after {self.budget.seconds} s"
        except Exception as failure:  # one bad rollout is data: the one place where anything a strategy raises is caught
            error = f"{type(failure).__name__}: {failure}"
        cost = replace(recorder.cost, seconds=time.monotonic() - started)
        return Attempt(id, task.id, answer, recorder.finished(), error, scope.seed, cost)

    async def judge(self, policies: Mapping[str, Policy], group: Group) -> Group:
        """The group with its judgements; what policies in the feedback's fields spent is counted. A feedback that raises gives
        status "failed" to every attempt, never a zero."""
        recorder = Recorder(group.id, self.sampling)
        feedback = bind(self.feedback, lambda p: RecordingView(p, recorder), policies, {})
        try:
            with entered(Scope(group.id, seed_of(self.seed, group.id), Meter(Budget()))):
                judged = tuple(await feedback(group))
        except Exception as failure:  # a hung or broken verifier is data too
            reason = f"{type(failure).__name__}: {failure}"
            judged = tuple(Judgement(a.id, None, "failed", evidence=reason) for a in group.attempts)
        if judged and recorder.cost.calls:
            judged = (replace(judged[0], cost=recorder.cost), *judged[1:])
        return replace(group, judgements=judged)

    async def groups(
        self,
        policies: Mapping[str, Policy],
        assignments: Sequence[Assignment],
        prefix: str,
        first: int = 0,
        memory: Memory | None = None,
    ) -> list[Group]:
        """A judged group for each assignment, in order (see ``visit``)."""
        found: dict[int, Group] = {}
        total = sum(a.siblings for a in assignments)
        await self.visit(policies, assignments, prefix, found.__setitem__, first=first, memory=memory, total=total)
        return [found[k] for k in sorted(found)]

    async def visit(
        self,
        policies: Mapping[str, Policy],
        assignments: Iterable[Assignment],
        prefix: str,
        take: Callable[[int, Group], object],
        *,
        first: int = 0,
        memory: Memory | None = None,
        total: int = 0,
    ) -> None:
        """Give ``take`` the ordinal and the judged group of each assignment as it ends; nothing else is kept, and assignments
        are read as they are begun, so that memory does not grow with their number. Attempts are named
        ``prefix/ordinal/sibling``, ordinals from ``first``; those that ``memory`` holds are not run again. A group is judged
        while others still sample. ``total`` attempts are what ``watch`` is told (0: not known)."""
        memory = memory or Forgetful()
        made: dict[int, dict[int, Attempt]] = {}
        ended = 0
        work = ((k, i, a) for k, a in enumerate(assignments) for i in range(a.siblings))

        async def worker() -> None:
            nonlocal ended
            for k, i, assignment in work:
                id = f"{prefix}/{first + k}/{i}"
                attempt = memory.attempt(id, assignment.task)
                if attempt is None:
                    attempt = await self.attempt(policies, assignment, id)
                    memory.put_attempt(assignment.task, attempt)
                siblings = made.setdefault(k, {})
                siblings[i], ended = attempt, ended + 1
                self.watch(ended, total)
                if len(siblings) == assignment.siblings:
                    del made[k]
                    group = Group(f"{prefix}/{first + k}", assignment, tuple(siblings[j] for j in range(assignment.siblings)))
                    judged = memory.group(group)
                    if judged is None:
                        judged = await self.judge(policies, group)
                        memory.put_judgements(judged)
                    take(k, judged)

        async with asyncio.TaskGroup() as pool:
            for _ in range(min(self.window, total or self.window)):
                pool.create_task(worker())


class Memory(Protocol):
    """Where finished work is kept before it is used (the run store)."""

    def begin_step(self, step: int) -> None: ...
    def attempt(self, id: str, task: Task) -> Attempt | None: ...
    def put_attempt(self, task: Task, attempt: Attempt) -> None: ...
    def group(self, group: Group) -> Group | None:
        """The group with its stored judgements, if every attempt of it was judged."""
        ...

    def put_judgements(self, group: Group) -> None: ...


class Forgetful:
    """Keeps nothing (evaluation, ``solve``)."""

    def begin_step(self, step: int) -> None:
        return None

    def attempt(self, id: str, task: Task) -> Attempt | None:
        return None

    def put_attempt(self, task: Task, attempt: Attempt) -> None:
        return None

    def group(self, group: Group) -> Group | None:
        return None

    def put_judgements(self, group: Group) -> None:
        return None
