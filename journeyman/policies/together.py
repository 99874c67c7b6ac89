"""Joining calls that arrive in the same turn of an asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Together(Generic[A, B]):
    """``await together(item)``: the items of one turn of the loop go to ``work`` in one list; its error is every caller's."""

    def __init__(self, work: Callable[[Sequence[A]], Sequence[B]]) -> None:
        self._work = work
        self._waiting: list[tuple[A, asyncio.Future[B]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, item: A) -> B:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._waiting = loop, []
        future: asyncio.Future[B] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append((item, future))
        return await future

    def _flush(self) -> None:
        live, self._waiting = [(x, f) for x, f in self._waiting if not f.done()], []
        if not live:
            return
        try:
            results = self._work([x for x, _ in live])
        except Exception as error:
            for _, future in live:
                future.set_exception(error)
            return
        for (_, future), result in zip(live, results, strict=True):
            future.set_result(result)
