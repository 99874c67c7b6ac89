"""Loggers write what they are given, name what is missing, and never end a run; progress is plain where it must be."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from journeyman.loggers import Tolerant, extra, to_tensorboard, to_trackio, to_wandb
from journeyman.progress import Progress

# ---------------------------------------------------------------------------------------- loggers


def test_tensorboard_holds_every_value(tmp_path: Path) -> None:
    logger = to_tensorboard(tmp_path / "tb")
    for step in (1, 2):
        logger.log(step, {"loss": 0.5 * step, "eval/accuracy": 0.25})
    logger.close()
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (path,) = (tmp_path / "tb").iterdir()
    events = [e for e in EventFileLoader(str(path)).Load() if e.summary.value]
    found = {(e.step, v.tag): v.tensor.float_val[0] for e in events for v in e.summary.value}
    assert found == {(1, "loss"): 0.5, (2, "loss"): 1.0, (1, "eval/accuracy"): 0.25, (2, "eval/accuracy"): 0.25}


def test_trackio_keeps_values_here_and_is_silent_on_standard_output(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    command = (
        "from journeyman.loggers import to_trackio; logger = to_trackio('p', name='a', auto_log_cpu=False);"
        "logger.log(1, {'loss': 0.5}); logger.log(2, {'loss': 0.25}); logger.close()"
    )
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    db = sqlite3.connect(tmp_path / "p.db")
    rows = db.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall()
    db.close()
    assert [(step, json.loads(metrics)) for step, metrics in rows] == [(1, {"loss": 0.5}), (2, {"loss": 0.25})]


@pytest.mark.parametrize(("make", "module"), [(to_wandb, "wandb"), (to_trackio, "trackio")])
def test_a_missing_library_is_named_with_its_extra(make: type, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # what an import of a library that is not installed finds
    expected = rf"to_{module} needs {module}, which is not installed; write: pip install 'journeyman\[{module}\]'"
    with pytest.raises(ValueError, match=expected) as caught:
        make("project")
    assert "\n" not in str(caught.value)


def test_extra_imports_what_is_there() -> None:
    assert extra("json", "none", "a test").loads("1") == 1
    with pytest.raises(ValueError, match="a test needs no_such_library"):
        extra("no_such_library.part", "none", "a test")


class Listed:
    """Keeps what it is given; raises on the steps it is told to."""

    def __init__(self, broken: tuple[int, ...] = (), close_breaks: bool = False) -> None:
        self.broken, self.close_breaks = broken, close_breaks
        self.seen: list[int] = []
        self.closed = False

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if step in self.broken:
            raise OSError("disk\nfull")
        self.seen.append(step)

    def close(self) -> None:
        self.closed = True
        if self.close_breaks:
            raise RuntimeError("server gone")


def test_a_logger_that_fails_is_told_once_and_the_others_go_on() -> None:
    out = io.StringIO()
    flaky, sound, rude = Listed(broken=(2, 3)), Listed(), Listed(close_breaks=True)
    logger = Tolerant([flaky, sound, rude], out)
    for step in (1, 2, 3, 4):
        logger.log(step, {"loss": 1.0})
    logger.close()
    assert (flaky.seen, sound.seen, rude.seen) == ([1, 4], [1, 2, 3, 4], [1, 2, 3, 4])
    assert flaky.closed
    assert sound.closed
    assert rude.closed
    assert out.getvalue().splitlines() == [
        "warning: Listed failed at step 2 (OSError: disk full); training goes on, further failures are only counted",
        "Listed failed 2 times; the run store has every metric",
        "warning: Listed failed when closed (RuntimeError: server gone); training goes on, further failures are only counted",
    ]


def test_ctrl_c_passes_through_a_logger() -> None:
    class Interrupted(Listed):
        def log(self, step: int, metrics: Mapping[str, float]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Tolerant([Interrupted()]).log(1, {})


# ---------------------------------------------------------------------------------------- progress


def test_a_log_has_one_plain_line_a_step() -> None:
    out = io.StringIO()
    with Progress(3, out) as progress:
        progress.note("started\x1b[31m in red\r\n")
        progress.attempts(1, 8)
        progress.step(1, {"accuracy": 0.255, "loss": -0.01234, "sampled_tokens": 100.0, "hidden": 3.0})
        progress.step(2, {"accuracy": 0.5, "solved": 1.0, "entropy": 0.1, "tokens_per_second": 12345.6})
    lines = out.getvalue().splitlines()
    assert lines[0] == "started [31m in red "
    assert re.fullmatch(r"step 1/3  accuracy 25\.5%  loss -0\.01234  tok/s [\d,]+  0\.\d s  left 0:00:00", lines[1])
    assert re.fullmatch(r"step 2/3  accuracy 50\.0%  solved 100\.0%  entropy 0\.100  tok/s 12,346  0\.\d s  left 0:00:00", lines[2])
    assert len(lines) == 3
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out.getvalue())


def test_time_left_counts_only_steps_made_here() -> None:
    with Progress(100, io.StringIO(), done=90) as progress:
        assert progress.left() == "?"
        time.sleep(0.2)
        progress.step(91, {})
        assert progress.left() in ("0:00:02", "0:00:03")


def test_throughput_is_of_the_step_itself() -> None:
    out = io.StringIO()
    with Progress(10, out) as progress:
        time.sleep(0.1)  # an evaluation before the first step
        progress.step(1, {"sampled_tokens": 50.0, "seconds": 0.01})
        assert progress.left() == "0:00:00"
    assert "tok/s 5,000  0.0 s" in out.getvalue()


SHOWN = """
import sys, time
from journeyman.progress import Progress
with Progress(5) as progress:
    progress.note("a note [bold]")
    progress.attempts(3, 8)
    time.sleep(0.4)
    progress.step(1, {"accuracy": 0.5, "loss": 0.25})
    print("document")
    time.sleep(0.4)
    if sys.argv[1:] == ["wait"]:
        print("ready", flush=True)
        time.sleep(60)
"""


def on_a_terminal(*arguments: str, interrupt: bool = False) -> tuple[str, str, int]:
    """Run SHOWN with standard error on a terminal and standard output in a pipe."""
    terminal, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-c", SHOWN, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=side, text=True, env=environment) as process:
        os.close(side)
        assert process.stdout is not None
        printed = process.stdout.readline()
        if interrupt:
            printed += process.stdout.readline()
            process.send_signal(signal.SIGINT)
        shown = b""
        while True:
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # Linux says so when the other side has closed
                break
            if not piece:
                break
            shown += piece
        printed += process.stdout.read()
    os.close(terminal)
    return printed, shown.decode(), process.returncode


def test_a_terminal_shows_bars_and_standard_output_stays_clean() -> None:
    printed, shown, status = on_a_terminal()
    assert status == 0
    assert printed == "document\n"
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    for wanted in ("a note [bold]", "3/8", "1/5", "left ?", "accuracy 50.0%", "loss 0.25"):
        assert wanted in text
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is shown again


def test_ctrl_c_gives_the_terminal_back() -> None:
    printed, shown, status = on_a_terminal("wait", interrupt=True)
    assert printed == "document\nready\n"
    assert status == -signal.SIGINT
    assert "KeyboardInterrupt" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
