"""Work that may hang, in processes that can be killed.

A worker is a fresh interpreter (not a fork: forks of a process with threads may deadlock; not multiprocessing: its
children import the caller's main script again), in its own session, without standard input or output. A call names a
function, "package.module:function" or "file.py:function", so nothing of the caller is copied. Its deadline is wall-clock
time from the moment a worker has imported the function; then the worker and all it started are killed, and the next call
gets a new one. Workers hash strings with a fixed seed, so that generators which walk over sets give the same items in every
run. This is no sandbox: the functions are trusted, only what they are given is not.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib
import importlib.util
import os
import queue
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

GRACE = 5.0  # seconds after the deadline at which the kernel ends a worker whose caller is gone
BOOT = 60.0  # seconds that a worker may take to start, and to import what a call needs


class Deadline(TimeoutError):
    """A call was killed at its deadline."""


class WorkerError(RuntimeError):
    """A call raised in its worker, or the worker died; the message says which."""


@dataclass
class _Call:
    function: str
    args: tuple[Any, ...]
    deadline: float
    memory: int | None
    future: Future[Any] = field(default_factory=Future)


class Pool:
    """Up to ``size`` workers, each started at the first call that needs it and kept until ``close``.

    ``submit`` is thread-safe and returns a ``concurrent.futures.Future``; ``run`` awaits the same. A call is cancelled
    without effect while it waits; once begun it ends by itself or at its deadline.
    """

    def __init__(self, size: int | None = None) -> None:
        self.size = size or max(1, min(4, os.cpu_count() or 1))
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._workers: set[_Worker] = set()
        self._idle = 0  # threads that wait for a call, less the calls that wait for a thread
        self._closed = False

    def submit(self, function: str, *args: Any, deadline: float, memory: int | None = None) -> Future[Any]:
        """Call ``function(*args)`` in a worker, for at most ``deadline`` seconds and ``memory`` bytes of address space.

        The future raises ``Deadline`` or ``WorkerError``. Arguments and result must pickle.
        """
        if deadline <= 0:
            raise ValueError(f"a deadline is a positive number of seconds: found {deadline}")
        call = _Call(function, args, deadline, memory)
        with self._lock:
            if self._closed:
                raise WorkerError("the pool is closed")
            self._idle -= 1
            if self._idle < 0 and len(self._threads) < self.size:
                self._idle += 1
                self._threads.append(threading.Thread(target=self._serve, name="journeyman-worker", daemon=True))
                self._threads[-1].start()
            self._calls.put(call)
        return call.future

    async def run(self, function: str, *args: Any, deadline: float, memory: int | None = None) -> Any:
        """``submit``, awaited."""
        return await asyncio.wrap_future(self.submit(function, *args, deadline=deadline, memory=memory))

    def pids(self) -> list[int]:
        """Process ids of the live workers."""
        with self._lock:
            return sorted(w.process.pid for w in self._workers)

    def close(self) -> None:
        """Kill every worker at once; calls that wait or run raise ``WorkerError``."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.kill()
            for _ in self._threads:
                self._calls.put(None)
        for thread in self._threads:
            thread.join(GRACE)

    def _serve(self) -> None:
        worker: _Worker | None = None
        while (call := self._calls.get()) is not None:
            if call.future.set_running_or_notify_cancel():
                worker = self._answer(call, worker)
            with self._lock:
                self._idle += 1
        self._drop(worker)

    def _answer(self, call: _Call, worker: _Worker | None) -> _Worker | None:
        """Answer one call and return the worker, or None if it is gone."""
        try:
            if worker is None:
                worker = self._start()
            kind, value = worker.ask(call)
        except Exception as error:  # whatever happened belongs to this call, and its thread must serve the next
            self._drop(worker)
            lost = isinstance(error, OSError | EOFError) and not isinstance(error, Deadline)
            code = worker.process.returncode if worker else None
            call.future.set_exception(WorkerError(f"the worker died (exit status {code})") if lost else error)
            return None
        if kind == "value":
            call.future.set_result(value)
        else:
            call.future.set_exception(WorkerError(value))
        return worker

    def _start(self) -> _Worker:
        with self._lock:  # with the lock, so that ``close`` cannot miss a worker that is being started
            if self._closed:
                raise WorkerError("the pool is closed")
            worker = _Worker()
            self._workers.add(worker)
        try:
            worker.wait_ready()
        except (WorkerError, OSError, EOFError):
            self._drop(worker)
            raise
        return worker

    def _drop(self, worker: _Worker | None) -> None:
        if worker is not None:
            worker.end()
            with self._lock:
                self._workers.discard(worker)


class _Worker:
    """One process and the connection to it."""

    def __init__(self) -> None:
        self.connection, far = Pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from journeyman.workers import serve; serve({far.fileno()})"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(far.fileno(),),
            start_new_session=True,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        far.close()

    def wait_ready(self) -> None:
        if not self.connection.poll(BOOT):
            raise WorkerError(f"a worker was not ready within {BOOT:g} s")
        self.connection.recv()

    def ask(self, call: _Call) -> tuple[str, Any]:
        self.connection.send((call.function, call.args, call.deadline, call.memory))
        self.wait_ready()  # a new worker imports the function's module first, which is not the call's time
        if not self.connection.poll(call.deadline):
            raise Deadline(f"{call.function} was killed after {call.deadline:g} s")
        return self.connection.recv()

    def kill(self) -> None:
        if self.process.returncode is None:  # not yet reaped, so the id is still this group's, even if the worker has ended
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill the process with all that it started, and reap it."""
        self.kill()
        self.process.wait()
        self.connection.close()


@cache
def shared() -> Pool:
    """The pool that every part of this process uses; closed at exit."""
    pool = Pool()
    atexit.register(pool.close)
    return pool


# ---------------------------------------------------------------------------------------- in the worker


def serve(descriptor: int) -> None:
    """A worker's life: answer calls until the caller closes the connection."""
    connection = Connection(descriptor)
    connection.send("ready")
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)  # what libraries print on errors is in the answer; a worker that fails to start was heard until here
    _, ceiling = resource.getrlimit(resource.RLIMIT_AS)
    while True:
        try:
            function, args, deadline, memory = connection.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, BOOT + deadline + GRACE)  # its default action ends the process, even inside C code
        begun = False
        try:
            called = load(function)
            connection.send("ready")
            begun = True
            resource.setrlimit(resource.RLIMIT_AS, (ceiling if memory is None else memory, ceiling))
            reply = ("value", called(*args))
        except BaseException as error:  # a call must not end its worker, whatever it raises (SystemExit included)
            reply = ("error", f"{type(error).__name__}: {error}"[:2000])
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not begun:
            connection.send("ready")
        try:
            connection.send(reply)
        except (ValueError, TypeError, AttributeError, ImportError) as error:  # what pickling raises
            connection.send(("error", f"the result of {function} cannot be sent back: {error}"[:2000]))


@cache
def load(function: str) -> Callable[..., Any]:
    """The function written as "package.module:function" or "path/file.py:function"."""
    place, _, name = function.rpartition(":")
    if not place.endswith(".py"):
        return getattr(importlib.import_module(place), name)
    return getattr(load_file(Path(place)), name)


def load_file(path: Path) -> Any:
    """The module in a file, run once. It is not put in ``sys.modules``: two files of one name stay apart."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
