"""Where a run's metrics go besides the run store: TensorBoard, Weights & Biases, trackio.

A logger is anything with ``log(step, metrics)`` and ``close()``. Each library is imported when its logger is made, at
assembly, so that a missing one is told before any work.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TextIO


class Logger(Protocol):
    """Keeps metrics by step."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


def extra(module: str, name: str, what: str) -> ModuleType:
    """Import an optional library; ValueError in one line that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"{what} needs {error.name}, which is not installed; write: pip install 'journeyman[{name}]'") from error


class to_tensorboard:
    """TensorBoard event files in ``folder``: ``tensorboard --logdir FOLDER`` shows them."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        extra("tensorboard", "tensorboard", "to_tensorboard")
        self._writer = extra("torch.utils.tensorboard", "tensorboard", "to_tensorboard").SummaryWriter(str(Path(folder)))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class to_wandb:
    """A Weights & Biases run. ``settings`` go to ``wandb.init``: name, config, mode="offline" ..."""

    def __init__(self, project: str, **settings: Any) -> None:
        self._run = extra("wandb", "wandb", "to_wandb").init(project=project, **settings)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


class to_trackio:
    """A trackio run, kept on this machine: ``trackio show`` displays it. ``settings`` go to ``trackio.init``."""

    def __init__(self, project: str, **settings: Any) -> None:
        self._trackio = extra("trackio", "trackio", "to_trackio")
        with redirect_stdout(sys.stderr):  # it prints greetings, which would spoil a document on standard output
            self._run = self._trackio.init(project=project, **settings)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        with redirect_stdout(sys.stderr):
            self._trackio.finish()  # not the run's own: that would be called again at exit, and print


class Tolerant:
    """Several loggers as one that never raises: a full disk or a dead server must not end hours of training.

    The first failure of each logger is told on ``out`` (standard error), ``close`` tells how many there were in all; the
    others go on, and the logger that failed is tried again each time. Nothing is lost by it: the run store, which is not
    a logger, has every metric.
    """

    def __init__(self, loggers: Sequence[Logger], out: TextIO | None = None) -> None:
        self.loggers = tuple(loggers)
        self.failures = [0] * len(self.loggers)
        self._out = out

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for i, logger in enumerate(self.loggers):
            try:
                logger.log(step, metrics)
            except Exception as error:  # third-party code with side effects elsewhere: any failure of it is only a warning
                self._failed(i, f"at step {step}", error)

    def close(self) -> None:
        for i, logger in enumerate(self.loggers):
            before = self.failures[i]
            try:
                logger.close()
            except Exception as error:  # as above
                self._failed(i, "when closed", error)
            if before > 1:
                self._tell(f"{type(logger).__name__} failed {self.failures[i]} times; the run store has every metric")

    def _failed(self, i: int, when: str, error: Exception) -> None:
        self.failures[i] += 1
        if self.failures[i] == 1:
            name = type(self.loggers[i]).__name__
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._tell(f"warning: {name} failed {when} ({reason}); training goes on, further failures are only counted")

    def _tell(self, text: str) -> None:
        print(text, file=self._out or sys.stderr, flush=True)
