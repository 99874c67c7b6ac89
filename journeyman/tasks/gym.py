"""Tasks from the generators of reasoning-gym, endless and split by content.

The library makes item i of seed s from seed s + i, so neighbouring seeds are the same data shifted by one. Here every item
has its own seed, a hash of (family, configuration, split, seed, index, try), and its question's hash says which split
it belongs to: train and held-out tasks never share a question, whatever their seeds and levels.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from journeyman.extract import extractor
from journeyman.tasks.entries import FRACTIONS, SPLITS, Entry, Fractions, content_hash, freeze, split_of, thaw
from journeyman.tasks.levels import LEVELS
from journeyman.types import Message, Prompt, Task, user
from journeyman.workers import Deadline, WorkerError, shared

TRIES = 1000  # seeds tried for an item; at a share of 0.1 a split is missed with probability 0.9^1000
PATIENCE = 60.0  # seconds that one item may take
CHUNK_SECONDS = 0.2  # how long a chunk of items should take: long enough to hide the call, short enough to wait for
LARGEST_CHUNK = 512
WORK = "journeyman.tasks.generate"  # the module whose functions run in workers


class GymTasks:
    """A sequence of ``size`` tasks, made when asked for and then kept. ``gym`` says what its arguments mean.

    Without ``distinct`` any item is made on its own; with it an item depends on those before it, which are then made first.
    """

    def __init__(
        self,
        family: str,
        level: int,
        size: int,
        split: str,
        seed: int,
        config: bytes,
        extract: str,
        system: str | None,
        distinct: bool,
        fractions: Fractions,
    ) -> None:
        self.family, self.level, self.size, self.split, self.seed = family, level, size, split, seed
        self.config, self.extract, self.system, self.distinct, self.fractions = config, extract, system, distinct, fractions
        self._tasks: dict[int, Task] = {}
        self._seen: dict[str, int] = {}  # content hash -> item, of distinct items
        self._chunk = 1  # items made together: more as long as they are asked for in order
        self._next = 0  # the item after the last chunk

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Task:
        at = index + self.size if index < 0 else index
        if not 0 <= at < self.size:
            raise IndexError(f"task {index} of {self.size}")
        while at not in self._tasks:
            first = len(self._tasks) if self.distinct else at
            if first != self._next:  # asked for in no order: its neighbours may never be
                self._chunk = 1
            self._next = min(first + self._chunk, self.size)
            self._make([i for i in range(first, self._next) if i not in self._tasks])
        return self._tasks[at]

    def _make(self, wanted: list[int]) -> None:
        """Make these items, in order: a repeated question is replaced before the next item is looked at, so that what an
        item is does not depend on how many were made together."""
        for item, (k, entry) in zip(wanted, self._draw([(i, 0) for i in wanted]), strict=True):
            key = content_hash(entry["question"])
            while self.distinct and self._seen.setdefault(key, item) != item:
                [(k, entry)] = self._draw([(item, k + 1)])
                key = content_hash(entry["question"])
            self._tasks[item] = self._task(entry)

    def _draw(self, wanted: Sequence[tuple[int, int]]) -> list[tuple[int, Entry]]:
        began = time.monotonic()
        key = (self.split, self.seed)
        args = (self.family, self.config, key, wanted, self.split, tuple(self.fractions), TRIES)
        try:
            found = shared().submit(f"{WORK}:draw", *args, deadline=PATIENCE).result()
        except Deadline:
            self._chunk = 1
            if len(wanted) > 1:
                return [self._draw([one])[0] for one in wanted]
            raise ValueError(f"{self} took more than {PATIENCE:g} s for one item; use an easier level or another family") from None
        except WorkerError as error:
            raise ValueError(f"{self} cannot be made: {str(error).removeprefix('ValueError: ')}") from None
        took = time.monotonic() - began
        if len(wanted) == self._chunk:
            self._chunk = min(LARGEST_CHUNK, self._chunk * 2) if took < CHUNK_SECONDS else max(1, self._chunk // 2)
        if None in found:
            kind = "distinct questions" if self.distinct else "questions"
            raise ValueError(
                f"{self} has too few {kind} for {self.size} tasks: item {wanted[found.index(None)][0]} was not found in "
                f"{TRIES} tries; ask for fewer or use another level"
            )
        return found

    def _task(self, entry: Entry) -> Task:
        """The task of an entry. Its id is a hash of all of it: a question may come with other metadata, or in another case."""
        before: tuple[Message, ...] = ({"role": "system", "content": self.system},) if self.system else ()
        prompt: Prompt = before + user(entry["question"])
        answer = {"dataset": self.family, "config": msgspec.json.decode(self.config), **entry}
        key = hashlib.sha256(msgspec.json.encode(answer, order="deterministic")).hexdigest()[:12]
        return Task(f"{self.family}/{self.level}/{key}", prompt, answer, self.extract, self.family, self.level)

    def __repr__(self) -> str:
        return f"gym:{self.family}@{self.level} ({self.split}, seed {self.seed})"


def gym(
    family: str,
    *,
    level: int = 0,
    size: int = 1000,
    split: str = "train",
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    extract: str = "answer",
    system: str | None = None,
    distinct: bool | None = None,
    fractions: Fractions = FRACTIONS,
) -> GymTasks:
    """``size`` tasks of one generator at one level.

    ``level`` indexes the family's table in ``journeyman.tasks.levels``; a family without one has only level 0, the
    library's defaults. ``config`` overrides single fields of the level. ``split`` is "train", "validation" or "heldout"
    (shares ``fractions`` of all questions, by content hash) or "all". ``distinct`` (default: except in train and all)
    leaves out questions seen before in this sequence, and raises where the family runs out of them; in any case equal
    entries have equal ids. ``system`` is put before the question as a system message; the question is the library's own.

    A task's answer holds what scoring needs, as plain JSON: {dataset, config, question, answer, metadata}; ``thaw`` gives
    the library's own entry back. Raises ValueError, at once, for an unknown family, level, split, extractor or field;
    when an item is first asked for, where the generator takes longer than ``PATIENCE`` seconds over it or has too few questions.
    """
    if split not in (*SPLITS, "all"):
        raise ValueError(f"found split={split!r}; write one of {', '.join(SPLITS)}, all")
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"found fractions={tuple(fractions)}; expected three shares (train, validation, heldout) that sum to 1")
    if size < 1:
        raise ValueError(f"found size={size}; expected at least 1 task")
    extractor(extract)
    overrides = freeze({**level_config(family, level), **(config or {})})
    encoded = msgspec.json.encode(overrides, order="deterministic")
    try:
        shared().submit(f"{WORK}:check", family, encoded, deadline=PATIENCE).result()
    except WorkerError as error:
        raise ValueError(str(error).removeprefix("ValueError: ")) from None
    if distinct is None:
        distinct = split in ("validation", "heldout")
    return GymTasks(family, level, size, split, seed, encoded, extract, system, distinct, fractions)


def level_config(family: str, level: int) -> Mapping[str, Any]:
    """The overrides of a level; ValueError says which levels there are."""
    if family not in LEVELS:
        if level != 0:
            raise ValueError(
                f"{family} has no level table, so only level 0 (the library's defaults): found level {level}; pass config="
            )
        return {}
    if not 0 <= level < len(LEVELS[family]):
        raise ValueError(f"{family} has levels 0 to {len(LEVELS[family]) - 1}: found level {level}")
    return LEVELS[family][level]


def entry_of(task: Task) -> Entry:
    """The library's own entry (question, answer, metadata) of a task that ``gym`` made."""
    if not (isinstance(task.answer, dict) and "dataset" in task.answer):
        raise ValueError(f"task {task.id} holds no entry of reasoning-gym: its answer is {task.answer!r:.100}")
    return {name: thaw(task.answer[name]) for name in ("question", "answer", "metadata")}


__all__ = ["GymTasks", "entry_of", "gym", "level_config", "split_of"]
