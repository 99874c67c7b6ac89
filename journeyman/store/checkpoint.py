"""Checkpoints that are whole or absent: safetensors and JSON, hashed, written beside their place and renamed into it.

    FOLDER/checkpoints/step-000012/weights.safetensors   the tensors
                                   state.json            plain JSON: optimiser, curriculum, random states ...
                                   manifest.json         step and the SHA-256 of both files
                                   marked                (only where marked) never pruned
    FOLDER/checkpoints/latest                            the name of the current one

A kill at any moment leaves the previous checkpoint current, or the new one; leftovers are removed by the next save.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

WEIGHTS, STATE, MANIFEST, MARK = "weights.safetensors", "state.json", "manifest.json", "marked"


class CheckpointError(ValueError):
    """A checkpoint that is missing or damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """What ``load_checkpoint`` found. ``warning`` says why an older one than asked for was taken; show it to the user."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    warning: str | None = None


def save_checkpoint(
    folder: str | os.PathLike[str],
    step: int,
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    keep: int = 2,
    marked: bool = False,
) -> Path:
    """Save the state after ``step``, make it the current checkpoint, and prune; returns its folder.

    The newest ``keep`` checkpoints up to ``step`` stay, and every marked one. Those of later steps (left from before
    a resume) belong to a future that no longer holds and go. ``state`` must be plain JSON, so that it comes back equal.
    """
    if keep < 1:
        raise ValueError(f"keep = {keep} would delete the checkpoint just written; write keep=1 or more")
    _refuse_non_json(state, "state")
    root = Path(folder) / "checkpoints"
    root.mkdir(parents=True, exist_ok=True)
    _clean(root)
    temporary = root / f".{_name(step)}"
    temporary.mkdir()
    save_file(_storable(tensors), temporary / WEIGHTS)
    (temporary / STATE).write_text(json.dumps(state), encoding="utf-8")
    hashes = {name: _sha256(temporary / name) for name in (WEIGHTS, STATE)}
    (temporary / MANIFEST).write_text(json.dumps({"step": step, "sha256": hashes}), encoding="utf-8")
    if marked:
        (temporary / MARK).touch()
    for path in (*temporary.iterdir(), temporary):
        _sync(path)
    final = root / _name(step)
    if final.exists():  # a step that is done over after a resume; rename cannot replace a folder that has files
        final.rename(_aside(final))  # a kill right here: load finds it there, and the next save puts it back
    temporary.rename(final)
    _sync(root)
    _point(root, final.name)
    _prune(root, step, keep)
    return final


def load_checkpoint(folder: str | os.PathLike[str], step: int | None = None) -> Checkpoint:
    """The current checkpoint, or that of one step, after its hashes were verified.

    Where the current one is damaged, the newest older one that is whole, with a ``warning`` that names both; a step
    that was asked for by number is never replaced. CheckpointError where nothing whole is left.
    """
    root = Path(folder) / "checkpoints"
    if step is not None:
        return _read(root, step)
    known = _steps(root)
    if not known:
        raise CheckpointError(f"{root} holds no checkpoint; start the run anew with --out")
    current = latest(folder)
    faults: list[str] = []
    if current is None:
        current = known[-1]
        faults.append(f"{root / 'latest'} is missing or names no checkpoint")
    for candidate in sorted({current, *(s for s in known if s < current)}, reverse=True):
        try:
            found = _read(root, candidate)
        except CheckpointError as error:
            faults.append(str(error))
            continue
        warning = f"{'; '.join(faults)}; continuing from step {candidate}" if faults else None
        return Checkpoint(candidate, found.tensors, found.state, warning)
    raise CheckpointError(f"no whole checkpoint is left in {root}: {'; '.join(faults)}")


def latest(folder: str | os.PathLike[str]) -> int | None:
    """The step of the current checkpoint, as its pointer says (the files are not verified), or None."""
    root = Path(folder) / "checkpoints"
    pointer = root / "latest"
    name = pointer.read_bytes().decode("utf-8", "replace").strip() if pointer.is_file() else ""
    digits = name.removeprefix("step-")
    return int(digits) if name != digits and digits.isascii() and digits.isdigit() else None


def mark_checkpoint(folder: str | os.PathLike[str], step: int) -> None:
    """Keep the checkpoint of this step whatever else is pruned (the best one so far, say)."""
    path = Path(folder) / "checkpoints" / _name(step)
    if not path.is_dir():
        raise CheckpointError(f"there is no checkpoint {path} to mark")
    (path / MARK).touch()


# ---------------------------------------------------------------------------------------- inside


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _steps(root: Path) -> list[int]:
    names = (path.name.removeprefix("step-") for path in root.glob("step-*"))
    return sorted(int(name) for name in names if name.isdigit())


def _read(root: Path, step: int) -> Checkpoint:
    path = root / _name(step)
    if not path.is_dir() and latest(root.parent) == step:
        path = _aside(path)
    if not path.is_dir():
        raise CheckpointError(f"there is no checkpoint of step {step} in {root}; found steps {_steps(root)}")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        named, hashes = manifest["step"], {name: manifest["sha256"][name] for name in (WEIGHTS, STATE)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path / MANIFEST} is damaged ({type(error).__name__}: {error})") from error
    if named != step:
        raise CheckpointError(f"{path} is damaged: its manifest is of step {named}")
    for name, expected in hashes.items():
        if not (path / name).is_file():
            raise CheckpointError(f"{path / name} is missing")
        if _sha256(path / name) != expected:
            raise CheckpointError(f"{path / name} is damaged: its SHA-256 is not the one recorded when it was saved")
    return Checkpoint(step, load_file(path / WEIGHTS), json.loads((path / STATE).read_text(encoding="utf-8")))


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors, each with its own storage: safetensors refuses tied weights, which we keep as copies."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu", copy=False).contiguous()
        storage = plain.untyped_storage()
        if plain.numel() and (storage.data_ptr() in seen or storage.nbytes() != plain.nbytes):
            plain = plain.clone(memory_format=torch.contiguous_format)
        seen.add(plain.untyped_storage().data_ptr())
        found[name] = plain
    return found


def _refuse_non_json(value: Any, where: str) -> None:
    """Raise where JSON would give back something else: other types, keys that are no strings, tuples."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r}; JSON keys are strings, so write {str(key)!r}")
            _refuse_non_json(inner, f"{where}[{key!r}]")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _refuse_non_json(inner, f"{where}[{i}]")
    elif type(value) not in (str, int, float, bool, type(None)):
        raise ValueError(
            f"{where} is a {type(value).__name__}, expected plain JSON (dict, list, str, int, float, bool, None); "
            "put tensors among the tensors and write tuples as lists"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _point(root: Path, name: str) -> None:
    temporary = root / ".latest"
    temporary.write_text(name + "\n", encoding="utf-8")
    _sync(temporary)
    temporary.replace(root / "latest")
    _sync(root)


def _prune(root: Path, step: int, keep: int) -> None:
    kept = [s for s in _steps(root) if s <= step][-keep:]
    for known in _steps(root):
        path = root / _name(known)
        if known not in kept and not (path / MARK).exists():
            gone = _aside(path)
            path.rename(gone)  # first out of sight, so that a kill never leaves half a checkpoint under its name
            _remove(gone)
    for leftover in root.glob(".old-*"):
        _remove(leftover)


def _aside(path: Path) -> Path:
    return path.with_name(f".old-{path.name}")


def _clean(root: Path) -> None:
    """Remove what an earlier save left when it was killed, after putting back the current checkpoint if it was moved."""
    current = latest(root.parent)
    if current is not None:
        path = root / _name(current)
        if not path.exists() and _aside(path).exists():
            _aside(path).rename(path)
    for leftover in root.glob(".*"):
        _remove(leftover)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
