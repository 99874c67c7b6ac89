"""Tasks as they are written on the command line."""

from __future__ import annotations

import re

from journeyman.protocols import Tasks
from journeyman.tasks.formats import FORMATS
from journeyman.tasks.gym import GymTasks, gym
from journeyman.tasks.jsonl import jsonl
from journeyman.tasks.mix import mix
from journeyman.tasks.role_tasks import ROLES, role_tasks
from journeyman.types import Task

SIZE = {"train": 10_000, "all": 10_000}  # generated tasks a source when no limit is given; 500 in other splits

_FAMILY = re.compile(r"(\w+)(?:@([0-9]+)(?:-([0-9]+))?)?")
_FILE = re.compile(r"(.*\.jsonl(?:\.gz)?)(?::(\w+))?", re.DOTALL)


class First:
    """The first ``size`` tasks of a source."""

    def __init__(self, source: Tasks, size: int) -> None:
        self.source, self.size = source, min(size, len(source))

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Task:
        if not -self.size <= index < self.size:
            raise IndexError(f"task {index} of {self.size}")
        return self.source[index % self.size]


def load_tasks(
    spec: str,
    *,
    split: str | None = None,
    limit: int | None = None,
    extract: str | None = None,
    system: str | None = None,
    seed: int = 0,
) -> Tasks:
    """The tasks that a spec writes:

    - "gym:chain_sum", "gym:chain_sum@2" (level 2), "gym:chain_sum@0-2,gcd@1" (a mixture, levels and families in turn);
    - "verify:gcd@0-1" and revise, choose, again, decline: the same tasks asked in another role (``role_tasks``);
    - "tasks.jsonl", "tasks.jsonl.gz", "tasks.jsonl:gsm8k" (the format forced).

    ``split`` is "train" for generated tasks and "all" for files when None. ``limit`` is the number of tasks in all; without
    it a generated source has 10,000 (500 in validation and heldout) and a file all of its lines. Raises ValueError in one line.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"found limit={limit}; expected at least 1 task")
    if not is_generated(spec):
        found = _FILE.fullmatch(spec)
        if found is None:
            forms = f"a path to .jsonl or .jsonl.gz, or PATH:FORMAT with a format of {', '.join(FORMATS)}"
            raise ValueError(f"{spec!r} is no source of tasks; write gym:FAMILY@LEVEL, verify:FAMILY@LEVEL, {forms}")
        return jsonl(found[1], format=found[2], split=split or "all", limit=limit, extract=extract, system=system)
    split = split or "train"
    named = levels(spec)
    size = SIZE.get(split, 500) if limit is None else -(-limit // len(named))
    sources: list[GymTasks] = [
        gym(family, level=level, size=size, split=split, seed=seed, extract=extract or "answer", system=system)
        for family, level in named
    ]
    whole: Tasks = sources[0] if len(sources) == 1 else mix(sources)
    if (role := spec.partition(":")[0]) != "gym":
        whole = role_tasks(whole, role)
    return whole if limit is None or len(whole) <= limit else First(whole, limit)


def is_generated(spec: str) -> bool:
    """Whether a spec names generated tasks (gym:..., or a role as in verify:...), not a file."""
    return spec.partition(":")[0] in ("gym", *ROLES)


def levels(spec: str) -> list[tuple[str, int]]:
    """(family, level) pairs of a "gym:..." or role spec, in the order written."""
    pairs: list[tuple[str, int]] = []
    for part in spec.partition(":")[2].split(","):
        found = _FAMILY.fullmatch(part.strip())
        if found is None:
            raise ValueError(f"{part!r} in {spec!r} is no family; write a name, as in gym:chain_sum, chain_sum@2 or chain_sum@0-2")
        low = int(found[2] or 0)
        high = int(found[3] or low)
        if high < low:
            raise ValueError(f"{part!r} in {spec!r} has levels from {low} down to {high}; write the lower one first")
        pairs += [(found[1], level) for level in range(low, high + 1)]
    if len(set(pairs)) < len(pairs):
        raise ValueError(f"{spec!r} names a level of a family twice")
    return pairs
