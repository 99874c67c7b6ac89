"""What a checkpoint of a run holds, and the actions that keep a run folder.

A run is restored to its last checkpoint k; the attempts of later steps that had finished are found again in the store
by their ids (the curriculum hands out the same tasks, for its state is that of step k) and are used, not run again.
So no finished attempt is lost or doubled, and none is trained on twice relative to the weights that survived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from journeyman.run import Action, Run
from journeyman.store import CheckpointError, Store, latest, load_checkpoint, save_checkpoint
from journeyman.types import Group


def tensors(run: Run) -> dict[str, Tensor]:
    """Every trained tensor and every optimiser moment, by "policy/NAME/..." and "learner/NAME/..."."""
    found = {f"policy/{name}/{k}": v for name, policy in run.policies.items() for k, v in policy.weights().items()}
    return found | {f"learner/{name}/{k}": v for name, learner in run.learners.items() for k, v in learner.tensors().items()}


def state(run: Run) -> dict[str, Any]:
    """All else that moves during a run, as plain JSON. Random numbers need none: each is derived from seed and place."""
    moving = {
        "versions": {name: policy.version for name, policy in run.policies.items()},
        "learners": {name: learner.state_dict() for name, learner in run.learners.items()},
        "curriculum": run.curriculum.state_dict(),
        "schedules": {name: schedule.state_dict() for name, schedule in run.schedules().items()},
    }
    return listed(moving)


def listed(value: Any) -> Any:
    """The value with its tuples as lists (a learner's replay holds lessons): what JSON gives back, or refuses to write."""
    if isinstance(value, Mapping):
        return {k: listed(v) for k, v in value.items()}
    return [listed(v) for v in value] if isinstance(value, list | tuple) else value


def prepare(run: Run) -> None:
    """Let learners see the policies as the run starts with them (a reference model is a copy of these weights)."""
    for name, learner in run.learners.items():
        learner.prepare(run.policies[name])


def restore(run: Run, step: int, found: dict[str, Tensor], known: dict[str, Any]) -> None:
    """Put the run back to the state after ``step``."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}

    for name, policy in run.policies.items():
        policy.load_weights(under(f"policy/{name}/"), known["versions"][name])
    for name, learner in run.learners.items():
        learner.load_state_dict(known["learners"][name])
        learner.load_tensors(under(f"learner/{name}/"))
    run.curriculum.load_state_dict(known["curriculum"])
    for name, schedule in run.schedules().items():
        schedule.load_state_dict(known["schedules"][name])
    run.done = step


def resume(run: Run, store: Store) -> str | None:
    """Restore the newest whole checkpoint of the store's folder into a run that holds its start weights; returns a warning
    if that is not the newest one. Without any (killed before the first, or none is whole) the run starts at its beginning
    and learns again from the attempts that the store holds: none of them is sampled anew."""
    prepare(run)
    if store.checkpointed_step() is None and latest(store.folder) is None:
        return None
    try:
        found = load_checkpoint(store.folder)
    except CheckpointError as error:
        reason = str(error).removesuffix("; start the run anew with --out")
        return f"{reason}; starting over from step 1 with the {store.counts()['attempts']:.0f} attempts that are stored"
    restore(run, found.step, found.tensors, found.state)
    return found.warning


def saves(store: Store, keep: int = 2) -> Action:
    """The action that checkpoints the run."""

    async def save(run: Run, step: int, groups: Sequence[Group], metrics: dict[str, float]) -> None:
        folder = save_checkpoint(store.folder, step, tensors(run), state(run), keep)
        store.set_checkpoint(step, folder.name)

    return save


def records(store: Store) -> Action:
    """The action that notes a step's end and metrics. It comes after every action that adds metrics."""

    async def record(run: Run, step: int, groups: Sequence[Group], metrics: dict[str, float]) -> None:
        store.end_step(step, metrics)

    return record
