"""Where a call stands: its path, its budget, and the attempt it belongs to. Ambient, so that strategies nest as plain calls.

A call's identity is its path in the attempt, fixed when the call is created: "3" is the fourth call of a strategy,
"3.1.0" the first call in branch 1 of the ``gather`` that was created fourth. Seeds and replay derive from it, so the
order in which the engine happens to finish changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from journeyman.types import Answer

T = TypeVar("T")


class BudgetSpent(Exception):
    """Raised at a model call that its budget does not allow. The runner answers with the last ``report``."""


@dataclass(frozen=True)
class Budget:
    """Limits of a scope: tokens (prompt + sampled), model calls, wall-clock seconds. None is no limit."""

    tokens: int | None = None
    calls: int | None = None
    seconds: float | None = None


class Meter:
    """What a scope has spent. Charges go up to every enclosing scope."""

    def __init__(self, limit: Budget, parent: Meter | None = None) -> None:
        self.limit, self.parent = limit, parent
        self.tokens, self.calls, self.started = 0, 0, time.monotonic()

    def chain(self) -> Iterator[Meter]:
        meter: Meter | None = self
        while meter is not None:
            yield meter
            meter = meter.parent

    def room(self) -> int | None:
        """Tokens left in the tightest enclosing scope, None if none is limited."""
        left = [m.limit.tokens - m.tokens for m in self.chain() if m.limit.tokens is not None]
        return min(left, default=None)

    def enter_call(self) -> None:
        """Count one call, or raise ``BudgetSpent`` before it is dispatched."""
        for m in self.chain():
            if m.limit.calls is not None and m.calls >= m.limit.calls:
                raise BudgetSpent(f"{m.calls} of {m.limit.calls} calls spent")
            if m.limit.tokens is not None and m.tokens >= m.limit.tokens:
                raise BudgetSpent(f"{m.tokens} of {m.limit.tokens} tokens spent")
            if m.limit.seconds is not None and time.monotonic() - m.started >= m.limit.seconds:
                raise BudgetSpent(f"{m.limit.seconds} seconds spent")
        for m in self.chain():
            m.calls += 1

    def charge(self, tokens: int) -> None:
        for m in self.chain():
            m.tokens += tokens


class Scope:
    """One branch of one attempt."""

    def __init__(self, attempt: str, seed: int, meter: Meter, path: str = "", root: Scope | None = None) -> None:
        self.attempt, self.seed, self.meter, self.path = attempt, seed, meter, path
        self.root: Scope = root or self
        self.ordinal = 0
        self.reported: Answer | None = None

    def next(self) -> str:
        """The path of the next thing created here."""
        path = f"{self.path}{self.ordinal}"
        self.ordinal += 1
        return path

    def branch(self, path: str, index: int) -> Scope:
        return Scope(self.attempt, self.seed, self.meter, f"{path}.{index}.", self.root)


_here: ContextVar[Scope] = ContextVar("journeyman.scope")


def here() -> Scope:
    """The scope of the running strategy; a LookupError means a policy view was used outside one."""
    return _here.get()


@contextmanager
def entered(scope: Scope) -> Iterator[Scope]:
    token = _here.set(scope)
    try:
        yield scope
    finally:
        _here.reset(token)


def seed_of(*parts: object) -> int:
    """A 63-bit seed from the text of its parts."""
    return int.from_bytes(hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest(), "big") >> 1


@contextmanager
def budget(tokens: int | None = None, calls: int | None = None, seconds: float | None = None) -> Iterator[Meter]:
    """A nested budget: ``with budget(tokens=2000) as b: ...``; ``b.room()`` reads what is left. Calls in flight when
    it runs out finish, so that it is exceeded by at most one sample a branch."""
    scope = here()
    outer = scope.meter
    scope.meter = Meter(Budget(tokens, calls, seconds), outer)
    try:
        yield scope.meter
    finally:
        scope.meter = outer


def report(answer: Answer) -> None:
    """The answer to give if the budget ends here; the last one reported counts."""
    here().root.reported = answer


def _branches(awaitables: Iterable[Awaitable[T]]) -> list[asyncio.Task[T]]:
    scope = here()
    path = scope.next()

    async def run(index: int, awaitable: Awaitable[T]) -> T:
        with entered(scope.branch(path, index)):
            return await awaitable

    tasks = []
    for i, a in enumerate(awaitables):
        tasks.append(asyncio.create_task(run(i, a)))
        if inspect.iscoroutine(a):  # one that was cancelled before it began would warn that it was never awaited
            tasks[-1].add_done_callback(lambda _, a=a: a.close())
    return tasks


async def gather(awaitables: Iterable[Awaitable[T]], strict: bool = False) -> list[T]:
    """Run branches together; their results in order. Branches that failed are left out (their traces are kept);
    if all failed, or one did and ``strict``, the first failure is raised."""
    results = await _all(_branches(awaitables))
    failed = [r for r in results if isinstance(r, BaseException)]
    if failed and (strict or len(failed) == len(results)):
        raise failed[0]
    return [r for r in results if not isinstance(r, BaseException)]


async def _all(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    try:
        return await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for t in tasks:
            t.cancel()


async def as_done(awaitables: Iterable[Awaitable[T]]) -> AsyncIterator[tuple[int, T]]:
    """(branch index, result) as branches finish; failed ones are left out. Leaving the loop cancels the rest."""
    tasks = _branches(awaitables)
    index = {t: i for i, t in enumerate(tasks)}
    waiting = set(tasks)
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for t in sorted(done, key=index.__getitem__):
                if not t.cancelled() and t.exception() is None:
                    yield index[t], t.result()
    finally:
        for t in waiting:
            t.cancel()


__all__ = ["Budget", "BudgetSpent", "as_done", "budget", "gather", "report"]
