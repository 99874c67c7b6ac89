"""A user's own reward function, from a file."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journeyman.feedback.each import answered, each, failed, scored
from journeyman.protocols import words
from journeyman.types import Attempt, Group, Judgement, Task
from journeyman.workers import Deadline, WorkerError, load_file, shared


@dataclass(frozen=True)
class from_file:
    """The function ``(task, answer text) -> float`` in a file, written "my_file.py:function" (``--reward`` reads this).

    With a ``deadline`` (seconds, for each answer) it runs in a killable process: one that hangs gets "timed_out", one that
    raises or kills its process "failed". With deadline=None it runs inline, as ``each`` would run it: for functions that
    hold a model or count their calls. Either way every rule of ``each`` holds. The file is run once here, at assembly, and
    once in each worker; ValueError says when there is no such file or function, or when the file itself fails.
    """

    place: str
    deadline: float | None = 10.0
    needs = words("answer")
    gives = words("score")

    def __post_init__(self) -> None:
        path, colon, name = self.place.rpartition(":")
        if not (colon and path.endswith(".py") and name.isidentifier()):
            raise ValueError(f"found {self.place!r}; expected a file and a function in it, as in my_reward.py:score")
        if not Path(path).is_file():
            raise ValueError(f"there is no file {path} (looked in {Path.cwd()})")
        if self.deadline is not None and self.deadline <= 0:
            raise ValueError(f"deadline is a positive number of seconds or None: found {self.deadline}")
        try:
            module = load_file(Path(path))
        except Exception as error:  # the user's file may raise anything; say where, in one line
            raise ValueError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
        if not callable(vars(module).get(name)):
            here = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")]
            what = "is not a function" if name in vars(module) else "does not exist"
            raise ValueError(f"{name} {what} in {path}; it has {', '.join(here) or 'no functions'}")
        object.__setattr__(self, "_inline", each(vars(module)[name]))
        object.__setattr__(self, "_absolute", f"{Path(path).resolve()}:{name}")

    async def __call__(self, group: Group) -> Sequence[Judgement]:
        if self.deadline is None:
            inline: each = self.__dict__["_inline"]
            return await inline(group)
        return await asyncio.gather(*(self._judge(group.task, a, self.deadline) for a in group.attempts))

    async def _judge(self, task: Task, attempt: Attempt, deadline: float) -> Judgement:
        text = answered(attempt)
        if isinstance(text, Judgement):
            return text
        try:
            returned: Any = await shared().run(self.__dict__["_absolute"], task, text, deadline=deadline)
        except Deadline:
            return Judgement(attempt.id, None, "timed_out", evidence=f"the reward function took more than {deadline:g} s")
        except WorkerError as error:
            return failed(attempt, f"the reward function raised {error}")
        return scored(attempt, returned)
