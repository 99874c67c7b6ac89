"""Freed memory is kept between operations, and given back when asked."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")


def test_freed_memory_is_kept():
    """Making and dropping 16 MiB again and again takes pages from the system once, not each time; who has set glibc's thresholds
    keeps them."""
    code = """
import resource, torch
from journeyman.policies.allocator import keep_freed_memory
print(keep_freed_memory())
for _ in range(10): torch.ones(1 << 22)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): torch.ones(1 << 22)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {}
    for own in (False, True):
        env = {"MALLOC_TRIM_THRESHOLD_": "131072"} if own else {}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=120)
        kept, count = done.stdout.split()
        assert kept == str(not own)
        faults[own] = int(count)
    assert faults[False] < faults[True] / 4


def test_what_lies_free_between_kept_blocks_is_given_back():
    code = """
import os, torch
from journeyman.policies.allocator import give_back, keep_freed_memory
def resident(): return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
keep_freed_memory()
blocks = [torch.ones(1 << 20) for _ in range(100)]  # 400 MiB
last = blocks.pop()
del blocks
kept = resident()
give_back()
print(kept, resident())
"""
    done = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True, timeout=120)
    kept, left = map(float, done.stdout.split())
    assert kept - left > 300
