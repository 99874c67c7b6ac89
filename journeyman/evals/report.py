"""What an evaluation found: accuracies with intervals, what they cost, and what was not answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from journeyman.evals.intervals import Estimate, interval_clustered
from journeyman.evals.majority import maj_at_k
from journeyman.evals.pass_at_k import pass_at_k
from journeyman.extract import canonical, extract
from journeyman.types import Answer, Attempt, Group, Task, to_json

Canonical = Callable[[Task, Answer], Hashable | None]


def value_of(task: Task, answer: Answer) -> Hashable | None:
    """An answer's value as ``vote`` counts it, or None where none can be read."""
    found = extract(answer.text, task.extract)
    return None if found is None else canonical(found)


@dataclass(frozen=True)
class Slice:
    """One part of an evaluation. Accuracies are means over tasks (each counts once, however often it was tried).

    ``statuses`` counts attempts by outcome: "checked", "abstained", "timed_out", "failed" (the verifier), "error" (the
    strategy raised or ran out), "unjudged". ``stops`` is the share of attempts by the stop reason of the trace that
    holds the answer. ``mean_length`` is the mean number of tokens drawn for an attempt, over all its traces.
    """

    n_tasks: int
    n_samples: int
    pass_1: Estimate
    pass_k: Estimate
    maj_k: Estimate
    statuses: Mapping[str, int]
    stops: Mapping[str, float]
    prompt_tokens: int
    sampled_tokens: int
    mean_length: float

    @property
    def unanswered(self) -> float:
        """The share of attempts without a checked answer; each counts as not correct."""
        return 1 - self.statuses.get("checked", 0) / self.n_samples


@dataclass(frozen=True)
class Report:
    """``overall`` and the same by family (``task.source``), by level, and by both ("family", level)."""

    k: int
    threshold: float
    overall: Slice
    families: Mapping[str, Slice] = field(default_factory=dict)
    levels: Mapping[int, Slice] = field(default_factory=dict)
    cells: Mapping[tuple[str, int], Slice] = field(default_factory=dict)

    rule = (
        "correct = a checked score of at least the threshold; attempts that abstained, timed out, failed or raised count as "
        "not correct, and their share is reported; 95 % intervals are clustered by task"
    )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: what ``eval --json`` prints."""
        cells = [{"family": family, "level": level, **_plain(part)} for (family, level), part in self.cells.items()]
        return {
            "k": self.k,
            "threshold": self.threshold,
            "rule": self.rule,
            "overall": _plain(self.overall),
            "families": {name: _plain(part) for name, part in self.families.items()},
            "levels": {str(level): _plain(part) for level, part in self.levels.items()},
            "cells": cells,
        }

    def table(self, title: str = "") -> Table:
        """A table for a terminal of 80 columns or more: accuracies in percent, each followed by its interval; the shares
        of attempts with no checked answer and of answers cut off by length; tokens drawn for an attempt."""
        table = Table(title=title or None, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=self.rule, caption_justify="left")
        table.add_column("", no_wrap=True)
        accuracies = ("pass@1", *([f"pass@{self.k}", f"maj@{self.k}"] if self.k > 1 else []))
        for name in ("n", *accuracies, "none", "cut", "tok"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_row(*self._row("all", self.overall), style="bold", end_section=True)
        if len(self.levels) > 1:
            for level, part in self.levels.items():
                table.add_row(*self._row(f"level {level}", part), end_section=level == max(self.levels))
        if len(self.families) > 1:
            for family, part in self.families.items():
                table.add_row(*self._row(family or "(no source)", part))
                cells = [(level, cell) for (name, level), cell in self.cells.items() if name == family]
                for level, cell in cells if len(self.levels) > 1 else ():
                    table.add_row(*self._row(f"  level {level}", cell))
        return table

    def _row(self, name: str, part: Slice) -> list[Text]:
        accuracies = [part.pass_1, part.pass_k, part.maj_k] if self.k > 1 else [part.pass_1]
        each = part.n_samples / part.n_tasks
        return [
            Text(name),
            Text(f"{part.n_tasks}x{each:g}" if each == int(each) else f"{part.n_tasks}x{each:.1f}"),
            *(_percent(accuracy) for accuracy in accuracies),
            _share(part.unanswered),
            _share(part.stops.get("length", 0.0) + part.stops.get("context", 0.0)),
            Text(f"{part.mean_length:.0f}"),
        ]


def summarise(groups: Sequence[Group], k: int = 1, threshold: float = 1.0, value: Canonical = value_of) -> Report:
    """The report of judged groups; groups of one task are joined. An attempt is correct when its judgement is checked and
    its score is at least ``threshold``. ``value`` says which answers are the same vote for maj@k.

    Abstentions and failures count as not correct and are counted by status; leaving them out would reward giving up.
    ValueError where there are no attempts, or a task has fewer than k.
    """
    tries: dict[str, _Tries] = {}
    for group in groups:
        found = tries.setdefault(group.task.id, _Tries(group.task))
        for attempt in group.attempts:
            found.add(group, attempt, threshold, value)
    known = [found for found in tries.values() if found.correct]
    if not known:
        raise ValueError(f"nothing to summarise: {len(groups)} groups with no attempts")
    for found in known:
        if len(found.correct) < k:
            raise ValueError(
                f"k = {k}, but task {found.task.id!r} has {len(found.correct)} attempts; sample more or write a smaller k"
            )
        found.finish(k)
    families = sorted({x.task.source for x in known})
    levels = sorted({x.task.level for x in known})
    cells = sorted({(x.task.source, x.task.level) for x in known})
    return Report(
        k,
        threshold,
        _slice(known),
        {name: _slice(x for x in known if x.task.source == name) for name in families},
        {level: _slice(x for x in known if x.task.level == level) for level in levels},
        {cell: _slice(x for x in known if (x.task.source, x.task.level) == cell) for cell in cells},
    )


class _Tries:
    """All attempts at one task, reduced to what a report needs, so that groups need not be kept."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.correct: list[bool] = []
        self.values: list[Hashable | None] = []
        self.statuses: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self.prompt_tokens = self.sampled_tokens = 0
        self.means = (0.0, 0.0, 0.0)

    def add(self, group: Group, attempt: Attempt, threshold: float, value: Canonical) -> None:
        judgement = group.judgement(attempt)
        score = None if judgement is None else judgement.score
        self.correct.append(score is not None and score >= threshold)
        self.values.append(None if attempt.answer is None else value(self.task, attempt.answer))
        if attempt.error is not None and score is None:
            status = "error"
        else:
            status = "unjudged" if judgement is None else judgement.status
        self.statuses[status] += 1
        held = attempt.trace(attempt.answer.trace) if attempt.answer else None
        last = held or (attempt.traces[-1] if attempt.traces else None)
        self.stops["none" if last is None else last.stop_reason] += 1
        self.prompt_tokens += attempt.cost.prompt_tokens
        self.sampled_tokens += attempt.cost.sampled_tokens

    def finish(self, k: int) -> None:
        n, c = len(self.correct), sum(self.correct)
        self.means = (c / n, float(pass_at_k(n, c, k)), maj_at_k(self.values, self.correct, k))


def _slice(tries: Iterable[_Tries]) -> Slice:
    tries = list(tries)
    samples = sum(len(x.correct) for x in tries)
    statuses = sum((x.statuses for x in tries), Counter())
    stops = sum((x.stops for x in tries), Counter())
    sampled = sum(x.sampled_tokens for x in tries)
    pass_1, pass_k, maj_k = (interval_clustered(column) for column in np.array([x.means for x in tries]).T)
    return Slice(
        len(tries),
        samples,
        pass_1,
        pass_k,
        maj_k,
        dict(sorted(statuses.items())),
        {name: count / samples for name, count in sorted(stops.items())},
        sum(x.prompt_tokens for x in tries),
        sampled,
        sampled / samples,
    )


def _plain(part: Slice) -> dict[str, Any]:
    return msgspec.json.decode(to_json(part)) | {"unanswered": part.unanswered}


def _percent(accuracy: Estimate) -> Text:
    colour = "green" if accuracy.mean >= 0.75 else "yellow" if accuracy.mean >= 0.25 else "red"
    interval = f"{100 * accuracy.low:.0f}-{100 * accuracy.high:.0f}"
    return Text.assemble((f"{100 * accuracy.mean:.1f}", colour), (f"{interval:>7}", "dim"))


def _share(share: float) -> Text:
    return Text("-" if share == 0 else f"{100 * share:.1f}", style="dim" if share == 0 else "")
