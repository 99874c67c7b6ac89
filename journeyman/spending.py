"""Ends a run when its budget is spent, so that different recipes can be compared at equal cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from journeyman.progress import Progress
from journeyman.run import Run
from journeyman.store import Store
from journeyman.types import Group


class Spending:
    """The action that ends a run at the first step with spent >= limit, where

    spent = sum over training attempts and their judging of compute / parameters,
    compute = (prompt + sampled tokens) x parameters of the model

    so it counts tokens of a model of the policy's size (``parameters``), over all models that strategies and feedback used.
    Evaluations are not part of it. A run overshoots by less than its last step. The budget stands in place of the recipe's
    number of steps, which still ends a run that has sampled nothing until then (one that learns from given solutions): it
    spends nothing. Adds the metric "spent_tokens". It comes before every action that asks whether a step is the last.
    """

    def __init__(self, limit: int, parameters: int, progress: Progress) -> None:
        self.limit, self.parameters, self.progress = limit, parameters, progress
        self.spent = 0.0

    async def __call__(self, run: Run, step: int, groups: Sequence[Group], metrics: dict[str, float]) -> None:
        self.spent += sum(g.cost.compute for g in groups) / self.parameters
        metrics["spent_tokens"] = self.spent
        self._move_end(run, step)

    def recall(self, run: Run, store: Store) -> None:
        """Count what the steps of a resumed run had spent; those after its checkpoint will be counted again as they are redone."""
        self.spent = sum(known["compute"] for step, known in store.metrics().items() if step <= run.done) / self.parameters
        if run.done:
            self._move_end(run, run.done)

    def _move_end(self, run: Run, step: int) -> None:
        if self.spent >= self.limit:
            run.last = step
        elif self.spent > 0 and run.last <= step:
            run.last = step + 1
        if self.spent > 0:
            self.progress.total = max(run.last if self.spent >= self.limit else math.ceil(step * self.limit / self.spent), step)
