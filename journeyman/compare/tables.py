"""The result of a comparison on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from journeyman.compare.result import Result

MANY = 8  # recipes, above which a line for each two of them and a matrix are more than a terminal can show


def tables(result: Result) -> Group:
    """Accuracy, cost, the differences of each two recipes, the win matrix and the notes, for a terminal of 80 columns. Of more
    than ``MANY`` recipes the differences to the first only."""
    parts: list[Any] = [sides(result), said(result["rule"]), costs(result), said(result["budget_rule"])]
    labels, found = [one["label"] for one in result["recipes"]], result["differences"]
    if found and len(labels) <= MANY:
        parts += [pairs(found), matrix(result), said(result["wins"]["rule"])]
    elif found:
        parts += [pairs([x for x in found if x["a"] == labels[0]])]
        parts += [said("to the first recipe; each two of them and the win matrix are on the page and in compare.json")]
    return Group(*parts, *(Text(f"note: {note}", style="yellow") for note in result["notes"]))


def sides(result: Result) -> Table:
    """Accuracy, one row a recipe."""
    table = made("held-out pass@1, percent")
    table.add_column("recipe", overflow="fold")
    for name in ("seeds", "failed", "before", "after", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in result["recipes"]:
        counts = [str(len(one["seeds"])), Text(str(len(one["failed"])), style="red" if one["failed"] else "dim")]
        if one["change"] is None:
            table.add_row(Text(one["label"]), *counts, "-", "-", "-")
        else:
            accuracies = [f"{100 * one[when]['mean']:.1f}" for when in ("before", "after")]
            table.add_row(Text(one["label"]), *counts, *accuracies, points(one["change"]))
    return table


def costs(result: Result) -> Table:
    """What a run cost, one row a recipe."""
    table = made(f"cost of a run, mean over seeds; the budget is {result['budget_tokens']:,} tokens")
    table.add_column("recipe", overflow="fold")
    for name in ("spent", "most over", "sampled", "trained", "steps", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in (r for r in result["recipes"] if r["change"] is not None):
        over = max(run["over_budget_tokens"] for run in result["runs"] if run["label"] == one["label"] and run["failed"] is None)
        means = [f"{one[name]:,.0f}" for name in ("sampled_tokens", "trained_tokens")]
        last = [f"{one['steps']:.1f}", f"{one['seconds']:.1f}"]
        table.add_row(Text(one["label"]), f"{one['spent_tokens']:,.0f}", f"{over:+,.0f}", *means, *last)
    return table


def pairs(differences: Sequence[Result]) -> Table:
    """Differences of held-out accuracy after training."""
    table = made("differences after training, in points")
    table.add_column("", overflow="fold")
    table.add_column("seeds", justify="right")
    table.add_column("difference", justify="right", no_wrap=True)
    for found in differences:
        table.add_row(Text(f"{found['a']} - {found['b']}"), str(len(found["seeds"])), points(found))
    return table


def matrix(result: Result) -> Table:
    """Row beats column."""
    labels, share = result["wins"]["labels"], result["wins"]["share"]
    table = made("row beats column, percent")
    table.add_column("", overflow="fold")
    for label in labels:
        table.add_column(Text(label), justify="right", overflow="fold")
    for label, row in zip(labels, share, strict=True):
        table.add_row(Text(label), *("-" if x is None else coloured(100 * x) for x in row))
    return table


def made(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def said(rule: str) -> Text:
    """What a table's numbers mean, below it."""
    return Text(rule + "\n", style="dim")


def points(change: Result) -> Text:
    """A difference in percentage points with its interval, coloured where the interval leaves out zero."""
    colour = "green" if change["low"] > 0 else "red" if change["high"] < 0 else ""
    return Text(f"{100 * change['mean']:+.1f} [{100 * change['low']:+.1f}, {100 * change['high']:+.1f}]", style=colour)


def coloured(percent: float) -> Text:
    return Text(f"{percent:.0f}", style="green" if percent >= 97.5 else "red" if percent <= 2.5 else "")
