"""Everything a report says about a run, read from its folder: the store, before.json and result.json."""

from __future__ import annotations

import inspect
import json
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journeyman import recipes, strategies
from journeyman.literal import parse
from journeyman.report.browse import browsable
from journeyman.report.outline import OUTCOMES, Round, outline, rounds
from journeyman.runner import all_needs
from journeyman.store import Step, Store

Json = dict[str, Any]
Point = tuple[int, Json]  # a step (0 before the first) and an estimate: mean, low, high


@dataclass(frozen=True)
class Facts:
    """What is known of a run. ``before`` and ``after`` are evaluations as ``summarise(...).to_json()`` writes them, None
    where the run has not come so far; ``steps`` are the ended ones."""

    folder: Path
    record: Json
    arguments: Json  # the recipe's, its defaults included where the recipe is one of the package's
    before: Json | None
    after: Json | None
    change: Json | None
    steps: list[Step]
    last: int | None  # how many steps were asked for, where known
    metrics: dict[int, dict[str, float]]
    rounds: list[Round]
    counts: dict[str, float]
    outcomes: dict[str, int]
    attempts: list[Json]  # the sample that can be browsed

    @property
    def complete(self) -> bool:
        return self.after is not None

    @property
    def oracle(self) -> bool | None:
        """Whether the training strategy asked the verifier; None where its text is not among this version's strategies."""
        try:
            return "oracle" in all_needs(parse(str(self.arguments["strategy"]), strategies))
        except (KeyError, ValueError):  # a recipe of one's own, or a run of another version
            return None

    @property
    def evaluations(self) -> list[Point]:
        """The accuracy of the policy alone on the held-out tasks: before, during, after."""
        found: dict[int, Json] = {}
        if self.before:
            found[0] = self.before["overall"]["pass_1"]
        for step, known in self.metrics.items():
            names = {"mean": "eval/accuracy", "low": "eval/accuracy/low", "high": "eval/accuracy/high"}
            estimate = {key: known.get(name, math.nan) for key, name in names.items()}
            if all(map(math.isfinite, estimate.values())):
                found[step] = estimate
        if self.after:
            found[max((s.step for s in self.steps), default=0)] = self.after["overall"]["pass_1"]
        return sorted(found.items())

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """A metric's steps and values, where it is a number."""
        found = [(step, known[name]) for step, known in self.metrics.items() if math.isfinite(known.get(name, math.nan))]
        return [step for step, _ in found], [value for _, value in found]

    def total(self, name: str) -> float:
        """A metric's sum over the ended steps."""
        return sum(self.series(name)[1])

    @property
    def wall(self) -> float:
        """Seconds between start and end of the ended steps, evaluations and checkpoints between them included."""
        return sum(step.ended - step.started for step in self.steps if step.ended is not None)


def gather(folder: str | os.PathLike[str]) -> Facts:
    """Read a run's folder, whether the run is complete, was killed or goes on; ValueError where there is no run."""
    folder = Path(folder)
    with Store(folder).open(readonly=True) as store:
        record = store.record()
        steps = [step for step in store.steps() if step.ended is not None]
        rows = outline(store)
        outcomes = Counter(row.outcome for row in rows)
        arguments = {**defaults(record["recipe"]), **record.get("arguments", {})}
        ended = {step.step for step in steps}
        metrics = {step: known for step, known in store.metrics().items() if step in ended}
        counts, attempts = store.counts(), browsable(store, rows)
    result = read_json(folder / "result.json") or {}
    last = arguments.get("steps")
    return Facts(
        folder,
        record,
        arguments,
        read_json(folder / "before.json") or result.get("before"),
        result.get("after"),
        result.get("change"),
        steps,
        last if isinstance(last, int) else None,
        metrics,
        rounds(rows, ended),
        counts,
        {name: outcomes[name] for name in OUTCOMES if outcomes[name]},
        attempts,
    )


def defaults(recipe: str) -> Json:
    """The arguments that a recipe of this package fills in by itself. A recipe file of one's own is not run for a report."""
    if recipe not in recipes.__all__:
        return {}
    found = inspect.signature(getattr(recipes, recipe)).parameters.values()
    return {p.name: p.default for p in found if p.default is not p.empty}


def read_json(path: Path) -> Json | None:
    """A file that a run writes whole or not at all; None where it is not there yet."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); remove it, and journeyman run --resume writes it anew") from error
