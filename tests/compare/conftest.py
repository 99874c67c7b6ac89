"""The tiny model and the tasks of the command line's tests, and a whole comparison on them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from journeyman.cli import main
from tests.cli.conftest import fill, model, one_thread, place

__all__ = ["BUDGET", "compared", "model", "numbers", "one_thread", "place", "snapshot", "words", "world"]

SMALL = ["--batch", "2", "--siblings", "2", "--max-tokens", "4", "--eval-n", "4", "--eval-k", "2", "--save-every", "2"]
BUDGET = 300  # a step costs 2 x 2 x (8 + 4) = 48 tokens: seven steps, 36 tokens over


def words(model, folder, *recipes, seeds=2, budget=BUDGET, out="out", jobs=1):
    shared = ["--policy", str(model), "--tasks", str(folder / "tasks.jsonl"), "--reward", f"{folder / 'reward.py'}:length", *SMALL]
    own = ["--seeds", str(seeds), "--budget-tokens", str(budget), "--out", str(folder / out), "--jobs", str(jobs)]
    return ["compare", *recipes, *own, *shared]


def snapshot(out: Path):
    """What tells a run that was done again from one that was kept: when its steps ended, and how many attempts it holds."""
    found = {}
    for path in sorted((out / "runs").glob("*/run.sqlite")):
        with closing(sqlite3.connect(path)) as db:
            found[path.parent.name] = db.execute("SELECT max(ended), count(*) FROM steps").fetchone()
    return found


def numbers(out: Path):
    """The result of a comparison without what differs each time."""
    result = json.loads((out / "compare.json").read_text())
    for part in (*result["runs"], *result["recipes"]):
        part.pop("seconds")
    return result


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("compare"))


@pytest.fixture(scope="session")
def compared(world, model):
    """The folder of a comparison of two recipes by two seeds."""
    assert main(words(model, world, "grpo --lr 0.01", "rloo")) == 0
    return world / "out"
