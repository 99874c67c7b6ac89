"""The run store as the runner's memory: what was finished before a kill is found again by its id."""

from __future__ import annotations

from journeyman.store.codec import StoreError
from journeyman.store.store import Store
from journeyman.types import Attempt, Group, Task, replace


class Session:
    """``runner.Memory`` over an open store. Attempt ids are "step/ordinal/sibling"."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def begin_step(self, step: int) -> None:
        """Note that a step starts."""
        self.store.begin_step(step)

    def attempt(self, id: str, task: Task) -> Attempt | None:
        """The finished attempt of this id, or None; StoreError where it was of another task (the run changed)."""
        found = self.store.attempt(*_place(id))
        if found is not None and found.task != task.id:
            raise StoreError(
                f"{self.store.folder} holds attempt {id} of task {found.task!r}, but the resumed run hands out {task.id!r} there; "
                "resume with the code, tasks and checkpoint that started it, or start anew with another --out"
            )
        return found

    def put_attempt(self, task: Task, attempt: Attempt) -> None:
        """Store a finished attempt, before anything uses it."""
        self.store.put_attempt(*_place(attempt.id), task, attempt)

    def group(self, group: Group) -> Group | None:
        """The group with its stored judgements, if every attempt of it was judged; None otherwise."""
        judgements = tuple(self.store.judgements(a.id for a in group.attempts))
        judged = {j.attempt for j in judgements}
        return replace(group, judgements=judgements) if all(a.id in judged for a in group.attempts) else None

    def put_judgements(self, group: Group) -> None:
        """Store a group's judgements in one transaction."""
        self.store.put_judgements(group.judgements)


def _place(id: str) -> tuple[int, int, int]:
    parts = id.split("/")
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() for p in parts):
        raise ValueError(f"attempt id {id!r}: expected step/ordinal/sibling, such as 3/17/5")
    step, ordinal, sibling = map(int, parts)
    return step, ordinal, sibling
