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
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Job = Callable[..., Any]


class Died(Exception):
    """A job ended without a result: one line that says why."""


def run_job(job: Job, *arguments: Any, log: Path, tick: Callable[[], None]) -> Any:
    """``job(*arguments)`` in a process of its own, its output appended to ``log``; ``Died`` where it raised or was killed.
    ``tick`` is called twice a second. The process dies with this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["journeyman.cli"])
    receive, send = context.Pipe(duplex=False)
    log.parent.mkdir(parents=True, exist_ok=True)
    process = context.Process(target=inside, args=(job, arguments, log, send))
    process.start()
    send.close()
    try:
        while not receive.poll(0.5):
            tick()
        good, value = receive.recv()
    except EOFError:
        good, value = False, None
    except KeyboardInterrupt:  # the terminal has told the job too
        process.join(30)
        process.kill()
        raise
    process.join()
    if good:
        return value
    raise Died(value or end_of(process.exitcode))


def end_of(status: int | None) -> str:
    if status == -signal.SIGKILL:
        return "killed by SIGKILL, as the system does to a process when memory runs out"
    return f"ended by {signal.Signals(-status).name}" if status is not None and status < 0 else f"ended with exit status {status}"


def inside(job: Job, arguments: tuple[Any, ...], log: Path, send: Connection) -> None:
    """What the new process does."""
    threading.Thread(target=die_with_parent, daemon=True).start()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
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
