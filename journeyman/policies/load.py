"""From a path to a policy."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from journeyman.policies.adapter import CONFIG, read_adapter
from journeyman.policies.decoder import FAMILIES
from journeyman.policies.decoder_policy import Decoder
from journeyman.policies.folder import read_config
from journeyman.policies.hf import HF
from journeyman.policies.lora import lora as with_adapters
from journeyman.policies.lora import read_lora

BASE = Path(__file__).parents[1] / "assets" / "base"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(device: str) -> torch.device:
    """``auto`` is the first of cuda, mps and cpu that this machine has. ValueError names a device that it has not."""
    have = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if device == "auto":
        return torch.device(next(kind for kind, count in have.items() if count))
    found = re.fullmatch(r"(cpu|cuda|mps)(?::(\d+))?", device)
    if found is None:
        raise ValueError(f"device is {device!r}, expected auto, cpu, cuda, cuda:0 (or another number) or mps")
    if int(found[2] or 0) >= have[found[1]]:
        raise ValueError(f"device is {device!r}, but torch finds {have[found[1]]} {found[1]} devices here; write auto or cpu")
    return torch.device(device)


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """``auto`` is bfloat16 on cuda and float32 elsewhere."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}, expected auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def find(path: str | Path) -> Path:
    """The folder a name stands for: a path, or ``base`` for the model that comes with the package."""
    if str(path) == "base":
        if not BASE.is_dir():
            raise ValueError(
                "this package has no base model; give a Hugging Face model folder, or make one with `journeyman pretrain`"
            )
        return BASE
    folder = Path(path).expanduser()
    if not folder.exists():
        raise ValueError(f"{path} does not exist; write 'base' for the packaged model, or the path of a Hugging Face folder")
    return folder


def load_policy(
    path: str | Path, *, name: str = "policy", device: str = "auto", dtype: str = "auto", lora: int | None = None, seed: int = 0
) -> Decoder | HF:
    """A policy from a Hugging Face folder, from a PEFT adapter folder, or ``base``.

    Llama, Qwen2 and Qwen3 models load as ``Decoder``, all others as ``HF``. ``lora`` is the rank of fresh adapters, which then
    are all that trains (``seed`` draws them). An adapter folder loads on the base model that it names.
    """
    folder = find(path)
    place = pick_device(device)
    kind = pick_dtype(dtype, place)
    if folder.is_dir() and (folder / CONFIG).is_file():
        if lora is not None:
            raise ValueError(f"{folder} holds adapters already; leave lora out, or merge them with save(merged=True) first")
        base = find(read_adapter(folder)[0].base)
        return read_lora(folder, Decoder.read(base, name, device=place, dtype=kind))
    family = read_config(folder).get("model_type")
    if family not in FAMILIES:
        if lora is not None:
            raise ValueError(f"{folder} is a {family!r} model; adapters are for {', '.join(FAMILIES)}: leave lora out")
        return HF.read(folder, name, device=place, dtype=kind)
    policy = Decoder.read(folder, name, device=place, dtype=kind)
    return policy if lora is None else with_adapters(policy, lora, seed=seed, base=str(path))
