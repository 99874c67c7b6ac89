"""One run in a process of its own: what it raises, or the kernel's killer, ends that run and not the comparison.

Processes come from a fork server that has imported the package once: no run waits for imports, none inherits what an earlier
one left in memory or on a device, and unlike a plain fork none inherits locks of running threads.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

Job = Callable[..., Any]


class Died(Exception):
    """A job ended without a result: one line that says why."""


@dataclass(frozen=True)
class Child:
    """A job in a process of its own, which dies with this one; at the job's end there is something to ``receive``."""

    process: BaseProcess
    receive: Connection

    def result(self) -> Any:
        """What the job returned, awaited; ``Died`` where it raised or was killed."""
        while not self.receive.poll(0.5):  # wakes up by itself, for Ctrl-C may have woken another thread
            pass
        try:
            good, value = self.receive.recv()
        except EOFError:
            good, value = False, None
        self.process.join()
        if good:
            return value
        raise Died(value or end_of(self.process.exitcode))


def run_job(job: Job, *arguments: Any, log: Path) -> Any:
    """``begin`` a job and wait for its result; Ctrl-C ends it."""
    child = begin(job, *arguments, log=log)
    with ending([child]):
        return child.result()


def begin(job: Job, *arguments: Any, log: Path, threads: int | None = None) -> Child:
    """Start ``job(*arguments)`` in a process of its own, its output appended to ``log``, on so many compute threads (None: as many
    as any process takes)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["journeyman.cli"])
    receive, send = context.Pipe(duplex=False)
    log.parent.mkdir(parents=True, exist_ok=True)
    process = context.Process(target=inside, args=(job, arguments, log, send, threads))
    process.start()
    send.close()
    return Child(process, receive)


def ended(children: Collection[Child], seconds: float) -> list[Child]:
    """Those whose jobs have ended; waits at most so long for the first."""
    ready = wait([child.receive for child in children], seconds)
    return [child for child in children if child.receive in ready]


@contextmanager
def ending(children: Collection[Child], seconds: float = 30) -> Iterator[None]:
    """None that is among ``children`` at the block's end outlives it. After Ctrl-C, of which the terminal has told them too,
    they have ``seconds`` to end by themselves."""
    try:
        yield
    except KeyboardInterrupt:
        end = time.monotonic() + seconds
        for child in children:
            child.process.join(max(0.0, end - time.monotonic()))
        raise
    finally:
        for child in children:
            child.process.kill()


def end_of(status: int | None) -> str:
    if status == -signal.SIGKILL:
        return "killed by SIGKILL, as the system does to a process when memory runs out"
    return f"ended by {signal.Signals(-status).name}" if status is not None and status < 0 else f"ended with exit status {status}"


def inside(job: Job, arguments: tuple[Any, ...], log: Path, send: Connection, threads: int | None) -> None:
    """What the new process does."""
    threading.Thread(target=die_with_parent, daemon=True).start()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read by what is loaded or started from here on
        torch.set_num_threads(threads)  # it was loaded by the fork server
    try:
        send.send((True, job(*arguments)))
    except Exception as error:  # whatever a run raises is told to the comparison, which goes on
        traceback.print_exc()
        last = traceback.format_exception_only(error)[0]
        send.send((False, " ".join(last.split()).removeprefix("journeyman.assemble.Misuse: ")))
        sys.exit(1)


def die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # as by SIGKILL, which a run survives at any moment
