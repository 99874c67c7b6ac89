"""Checkpoints: exact, atomic, verified, pruned; kills, cuts and flipped bits."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from journeyman.store import CheckpointError, latest, load_checkpoint, mark_checkpoint, save_checkpoint

STATE = {"lr": 1e-5, "rng": [1, 2**62], "nested": {"x": [0.1, None, True, "é😀"]}, "nan": []}


def save(folder: Path, step: int, **options: object) -> Path:
    return save_checkpoint(folder, step, {"w": torch.full((3,), float(step))}, {"step": step}, **options)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "checkpoints").iterdir())


def test_tensors_and_state_come_back_equal(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "float": base,
        "tied": base,
        "slice": base[:, 1],
        "transposed": base.T,
        "bf16": torch.randn(5).to(torch.bfloat16),
        "int": torch.tensor([2**62]),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(0.1),
        "empty": torch.zeros(0, 3),
        "trained": torch.nn.Parameter(torch.ones(2)),
    }
    folder = save_checkpoint(tmp_path, 12, tensors, STATE)
    assert folder == tmp_path / "checkpoints" / "step-000012"
    found = load_checkpoint(tmp_path)
    assert (found.step, found.state, found.warning) == (12, STATE, None)
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor), name
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "state.json", "weights.safetensors"]
    save_checkpoint(tmp_path, 13, {}, {})
    assert load_checkpoint(tmp_path).tensors == {}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"a": (1, 2)}, r"state\['a'\] is a tuple"),
        ({"a": [{"b": torch.ones(1)}]}, r"state\['a'\]\[0\]\['b'\] is a Tensor"),
        ({1: "x"}, r"state has the key 1; JSON keys are strings, so write '1'"),
    ],
)
def test_state_that_json_would_change_is_refused(tmp_path: Path, state: dict, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        save_checkpoint(tmp_path, 1, {}, state)


def test_the_last_and_the_marked_are_kept(tmp_path: Path) -> None:
    for step in range(1, 7):
        save(tmp_path, step, keep=2, marked=step == 2)
        if step == 4:
            mark_checkpoint(tmp_path, 4)
    assert names(tmp_path) == ["latest", "step-000002", "step-000004", "step-000005", "step-000006"]
    assert load_checkpoint(tmp_path, 2).state == {"step": 2}
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 3 in .*; found steps \[2, 4, 5, 6\]"):
        load_checkpoint(tmp_path, 3)
    with pytest.raises(CheckpointError, match="to mark"):
        mark_checkpoint(tmp_path, 3)
    with pytest.raises(ValueError, match="keep = 0"):
        save(tmp_path, 7, keep=0)


def test_saving_a_step_again_replaces_it_and_drops_later_ones(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step, keep=5)
    save_checkpoint(tmp_path, 2, {"w": torch.zeros(1)}, {"again": True}, keep=5)
    assert names(tmp_path) == ["latest", "step-000001", "step-000002"]
    assert load_checkpoint(tmp_path).state == {"again": True}
    assert latest(tmp_path) == 2


def test_nothing_there(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_checkpoint(tmp_path)


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(data[:-1])
    else:
        data[random.Random(how).randrange(len(data))] ^= 1 << random.Random(how).randrange(8)
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["missing", "empty", "cut", *(f"flip {i}" for i in range(12))])
@pytest.mark.parametrize("name", ["weights.safetensors", "state.json", "manifest.json"])
def test_any_damage_is_found_and_the_previous_one_is_taken_with_a_warning(tmp_path: Path, name: str, how: str) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"w": torch.full((50,), float(step))}, {"step": step, "x": [1.5] * 20})
    damage(tmp_path / "checkpoints" / "step-000002" / name, how)
    found = load_checkpoint(tmp_path)
    assert (found.step, found.state["step"], found.tensors["w"][0]) == (1, 1, 1.0)
    assert found.warning is not None
    assert "step-000002" in found.warning
    assert found.warning.endswith("continuing from step 1")
    with pytest.raises(CheckpointError, match=r"damaged|missing"):
        load_checkpoint(tmp_path, 2)
    damage(tmp_path / "checkpoints" / "step-000001" / name, how)
    with pytest.raises(CheckpointError, match="no whole checkpoint is left"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("pointer", [b"", b"\xff\xfe", b"step-x", b"12"])
def test_a_damaged_pointer_is_told(tmp_path: Path, pointer: bytes) -> None:
    save(tmp_path, 1)
    (tmp_path / "checkpoints" / "latest").write_bytes(pointer)
    found = load_checkpoint(tmp_path)
    assert found.step == 1
    assert found.warning is not None
    assert "names no checkpoint" in found.warning


SAVER = """
import sys, torch
from journeyman.store import load_checkpoint, latest, save_checkpoint
folder = sys.argv[1]
step = latest(folder) or 0
print("ready", flush=True)
while True:
    step += 1
    save_checkpoint(folder, step, {"w": torch.full((200_000,), float(step))}, {"step": step}, keep=2)
    print(step, flush=True)
"""


def test_sigkill_at_any_moment_leaves_a_whole_current_checkpoint(tmp_path: Path) -> None:
    rng = random.Random(0)
    confirmed = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", SAVER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.02, 0.12))
            process.send_signal(signal.SIGKILL)
            seen = [int(line) for line in process.stdout if line.endswith("\n")]
        confirmed = max([confirmed, *seen])
        found = load_checkpoint(tmp_path)
        assert found.warning is None or confirmed == 0
        assert confirmed <= found.step <= confirmed + 1
        assert found.state == {"step": found.step}
        assert (found.tensors["w"] == found.step).all()
        confirmed = found.step
    assert confirmed >= 3
    save(tmp_path, confirmed + 1)
    assert len(names(tmp_path)) == 3  # the leftovers of every kill are gone


class Killed(BaseException):
    """Stands for a kill at one system call."""


@pytest.mark.parametrize("over", [False, True], ids=["a new step", "the same step again"])
def test_a_stop_between_any_two_file_operations_leaves_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: bool
) -> None:
    real = {name: getattr(os, name) for name in ("rename", "replace", "fsync", "unlink", "rmdir", "mkdir")}
    stop_at, count = -1, 0

    def counted(name: str):
        def call(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count == stop_at:
                raise Killed
            return real[name](*args, **kwargs)

        return call

    save(tmp_path, 1)
    save(tmp_path, 2)
    for name in real:
        monkeypatch.setattr(os, name, counted(name))
    step = 2 if over else 3
    for stop_at in range(1, 40):
        count = 0
        try:
            save(tmp_path, step)
        except Killed:
            found = load_checkpoint(tmp_path)
            assert found.warning is None
            assert found.step in ((2,) if over else (step - 1, step))
            step = found.step + (not over)
        else:
            assert stop_at > 10  # the loop passed every operation of a save
            return
    raise AssertionError("a save has more operations than were tried")


def test_state_json_is_plain(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, 3, {"w": torch.ones(2)}, STATE)
    assert json.loads((folder / "state.json").read_text()) == STATE
