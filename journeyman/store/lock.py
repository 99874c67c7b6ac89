"""One writer per run folder, enforced by the kernel and given back by it when the process dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path

from journeyman.store.codec import StoreError


class FolderLock:
    """An exclusive ``flock`` on a file. Nothing to clean up after SIGKILL: the kernel drops it with the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock; StoreError at once where another process (or another Store of this one) holds it."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise StoreError(
                f"{self.path.parent} is in use by process {holder}; wait for it or stop it, or name another folder"
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode("ascii"), 0)
        self._file = file
        _HELD.add(self)

    def release(self) -> None:
        """Give the lock back; does nothing where it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            _HELD.discard(self)


# A forked worker (a verifier pool) inherits the open file and with it the lock: it would keep a killed run's folder
# locked for as long as the worker lives. Each child therefore closes its copy, which leaves the parent's lock alone.
_HELD: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _close_in_child() -> None:
    for lock in list(_HELD):
        lock.release()


os.register_at_fork(after_in_child=_close_in_child)
