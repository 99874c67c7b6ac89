"""What a person sees while a comparison goes on: a line for each of its runs under way, and what has ended above them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


class Lines:
    """The things under way. ``alive``: on a terminal each has a line with the last line of its log; elsewhere its beginning is
    printed."""

    def __init__(self, alive: bool) -> None:
        self.alive = alive
        self._logs: dict[str, Path] = {}
        self._spinner = Spinner("dots", style="status.spinner")

    def begin(self, text: str, log: Path) -> None:
        if not self.alive:
            print(f"{text} ...", file=sys.stderr, flush=True)
        self._logs[text] = log

    def end(self, text: str) -> None:
        del self._logs[text]

    def rows(self) -> RenderableType:
        """One line for each, cut to the terminal's width."""
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column()
        for text, log in list(self._logs.items()):  # the display's own thread reads them
            shown = Text.assemble(text, "  ", (last_line(log), "dim"), no_wrap=True, overflow="ellipsis")
            grid.add_row(self._spinner, shown)
        return grid if grid.row_count else ""


@contextmanager
def display() -> Iterator[Lines]:
    """Lines on standard error; what is printed there meanwhile stays above them. Leaving gives the terminal back."""
    console = Console(stderr=True)
    lines = Lines(console.is_terminal)
    live = Live(get_renderable=lines.rows, console=console, refresh_per_second=8, transient=True, redirect_stdout=False)
    with live if lines.alive else nullcontext():
        yield lines


def last_line(log: Path) -> str:
    """The end of a file that may not be there yet."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 2000))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")[:120]


def left(took: Sequence[float], waiting: int, running: Sequence[float], jobs: int) -> str:
    """About the time left, if each run takes the mean of what the finished ones ``took`` (seconds); ``running`` are the seconds of
    those under way, ``jobs`` how many go on at a time. Nothing is said before the first has finished and after the last."""
    if not took or not (waiting or running):
        return ""
    mean = sum(took) / len(took)
    ahead = waiting * mean + sum(max(0.0, mean - spent) for spent in running)
    return f"; about {timedelta(seconds=round(ahead / min(jobs, waiting + len(running))))} left"
