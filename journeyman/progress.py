"""What a person sees while a run runs: a live display on a terminal, one plain line a step anywhere else."""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

# (metric, label, how it is written): shown in this order, where present
SHOWN: tuple[tuple[str, str, str], ...] = (
    ("accuracy", "accuracy", "{:.1%}"),
    ("solved", "solved", "{:.1%}"),
    ("loss", "loss", "{:.4g}"),
    ("entropy", "entropy", "{:.3f}"),
    ("surprise", "surprise", "{:.3f}"),
    ("eval/accuracy", "eval", "{:.1%}"),
    ("tokens_per_second", "tok/s", "{:,.0f}"),
)
RECENT = 20  # steps over which the time left is estimated: later steps often differ from the first


class Progress:
    """``with Progress(total_steps) as progress:`` then ``attempts(done, total)`` while a step samples, ``step(step,
    metrics)`` when it ended, and ``note(text)`` for a line that stays.

    Throughput is the metric "tokens_per_second", or "sampled_tokens" over "seconds" (else over the step's wall-clock
    time). ``done`` steps were finished before (a resumed run). Leaving the block, by Ctrl-C too, gives the terminal
    back as it was.
    """

    def __init__(self, total_steps: int, out: TextIO | None = None, done: int = 0) -> None:
        self.total, self.done = total_steps, done
        self._out = out or sys.stderr
        self._live: Live | None = None
        self._metrics: dict[str, float] = {}
        self._attempts = (0, 0)
        self._ended = time.monotonic()
        self._seconds: deque[float] = deque(maxlen=RECENT)

    def __enter__(self) -> Progress:
        self._ended = time.monotonic()
        if self._out.isatty():
            # Prints to standard output are moved above the display only where both are the terminal: a document
            # written to a file or a pipe (--json) must not be diverted.
            redirect = sys.stdout.isatty()
            console = Console(file=self._out)
            self._live = Live(get_renderable=self._display, console=console, refresh_per_second=4, redirect_stdout=redirect)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._attempts = (0, 0)
            live, self._live = self._live, None
            live.stop()

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Step number ``step`` (counted from 1) has ended with these metrics."""
        now = time.monotonic()
        between, self._ended = now - self._ended, now
        seconds = metrics.get("seconds", between)
        self._seconds.append(between if self._seconds else seconds)  # before the first step there may be an evaluation
        self.done, self._attempts, self._metrics = step, (0, 0), dict(metrics)
        if "tokens_per_second" not in metrics and "sampled_tokens" in metrics and seconds > 0:
            self._metrics["tokens_per_second"] = metrics["sampled_tokens"] / seconds
        if self._live is None:
            shown = "  ".join(f"{label} {value}" for label, value in self._shown())
            self._line(f"step {step}/{self.total}  {shown}  {seconds:.1f} s  left {self.left()}")

    def attempts(self, done: int, total: int) -> None:
        """So many of the current step's attempts have ended (shown on a terminal only)."""
        self._attempts = (done, total)

    def note(self, text: str) -> None:
        """A line that stays, above the display."""
        if self._live is None:
            self._line(text)
        else:
            self._live.console.print(Text(_plain(text)))

    def left(self) -> str:
        """The time left as h:mm:ss, from the mean of the recent steps; "?" before the first."""
        if not self._seconds:
            return "?"
        mean = sum(self._seconds) / len(self._seconds)
        return str(timedelta(seconds=round(mean * max(self.total - self.done, 0))))

    def _shown(self) -> list[tuple[str, str]]:
        return [(label, form.format(self._metrics[name])) for name, label, form in SHOWN if name in self._metrics]

    def _line(self, text: str) -> None:
        print(_plain(text), file=self._out, flush=True)

    def _display(self) -> Group:
        rows = Table.grid(padding=(0, 1))
        made, asked = self._attempts
        inside = made / asked if asked else 0.0
        steps = ProgressBar(total=max(self.total, 1), completed=min(self.done + inside, self.total), width=32)
        rows.add_row("steps", steps, Text(f"{self.done}/{self.total}"), Text(f"left {self.left()}", style="cyan"))
        running = Text(f"step {self.done + 1} for {time.monotonic() - self._ended:.0f} s", style="dim")
        sampling = ProgressBar(total=max(asked, 1), completed=made, width=32, complete_style="green", finished_style="green")
        if self.done < self.total:
            rows.add_row("attempts", sampling, Text(f"{made}/{asked}" if asked else "-"), running)
        shown = Text("   ").join(Text.assemble((f"{label} ", "dim"), (value, "bold")) for label, value in self._shown())
        return Group(rows, shown) if self._metrics else Group(rows)


def _plain(text: str) -> str:
    """The text on one line without control characters (an attempt's text may hold terminal escapes)."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text)
