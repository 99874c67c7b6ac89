"""One tiny model folder for all, and a folder with tasks to run the command line in."""

import json
from pathlib import Path

import pytest
import torch

from journeyman.cli import main
from tests.policies.conftest import byte_tokenizer, small

REWARDS = """
import math

def length(task, answer):
    return float(len(answer) % 3)

def raises(task, answer):
    raise RuntimeError("no grader today")

def nothing(task, answer):
    return None

def nan(task, answer):
    return math.nan

def text(task, answer):
    return "good"

def sometimes(task, answer):
    if task.answer in "0246":
        raise KeyError(task.answer)
    return 1.0

not_a_function = 3
"""
# Sizes at which a run takes a fraction of a second.
SMALL = ["--steps", "2", "--batch", "2", "--siblings", "2", "--max-tokens", "4", "--eval-n", "2", "--eval-k", "2"]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A random Qwen3 folder over bytes."""
    folder = tmp_path_factory.mktemp("model")
    small("qwen3").save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def fill(folder: Path) -> Path:
    rows = [{"prompt": f"{a}+{b}=", "answer": str(a + b), "extract": "number"} for a in range(6) for b in range(6)]
    (folder / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "reward.py").write_text(REWARDS)
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The working directory: 36 tasks and some reward functions, nothing else."""
    monkeypatch.chdir(fill(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def finished(tmp_path_factory, model):
    """The folder of a run that has ended; its reward has something to teach any model."""
    folder = fill(tmp_path_factory.mktemp("finished"))
    torch.set_num_threads(1)
    arguments = ["--tasks", str(folder / "tasks.jsonl"), "--policy", str(model), "--lr", "0.01", *SMALL]
    assert main(["run", "grpo", "--out", str(folder / "run"), "--reward", f"{folder / 'reward.py'}:length", *arguments]) == 0
    return folder / "run"
