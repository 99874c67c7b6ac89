"""What a process does with memory that tensors gave back."""

from __future__ import annotations

import ctypes
import functools
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGEST = 1 << 26  # bytes; larger blocks go back to the system at once, so that caches of many sizes do not pile up


@functools.cache
def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next tensor; whether it was asked to.

    Each operation on a CPU allocates its result. By default glibc takes every block above some threshold from the system and gives
    it back when it is freed, and the next operation waits while the system clears the same pages again; keeping them makes an
    update 1.2 times as fast (runs/bench_choices.log). What is kept piles up in pieces while sizes vary; ``give_back`` returns it.
    Not where there is no glibc, or where the user has set its thresholds (MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_).
    """
    if platform.libc_ver()[0] != "glibc" or {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))


def give_back() -> None:
    """Hand the pages of what is free now to the system: what was kept piles up in pieces while sizes vary."""
    if keep_freed_memory():
        ctypes.CDLL(None).malloc_trim(0)
