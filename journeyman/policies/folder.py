"""Hugging Face model folders: config.json, safetensors (one file or shards) and tokenizer files, read and written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from journeyman.policies.decoder import Architecture, CausalLM

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}, expected a JSON object")
    return value


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model folder."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give a Hugging Face model folder (config.json, weights, tokenizer)")
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} has no config.json; give a Hugging Face model folder (save_pretrained writes one)")
    return read_json(folder / "config.json")


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of one safetensors file."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist; the folder is incomplete, copy it again")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a safetensors handle is no mapping)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error}); copy it again") from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a model folder, from ``model.safetensors`` or the shards its index names."""
    if (folder / WEIGHTS).is_file():
        return read_safetensors(folder / WEIGHTS)
    if (folder / INDEX).is_file():
        shards = sorted(set(read_json(folder / INDEX).get("weight_map", {}).values()))
        return {name: tensor for shard in shards for name, tensor in read_safetensors(folder / shard).items()}
    raise ValueError(f"{folder} has no weights: expected {WEIGHTS} or {INDEX} (pickled files are not read)")


def read_model(folder: Path, dtype: torch.dtype | None = None) -> tuple[CausalLM, dict[str, Any]]:
    """The model of a folder, on the CPU, and its configuration. Every tensor must be there with the shape the
    configuration implies, and no other."""
    config = read_config(folder)
    architecture = Architecture.of(config)
    with torch.device("meta"):
        model = CausalLM(architecture)
    wanted = {name: tuple(p.shape) for name, p in model.named_parameters()}
    found = read_weights(folder)
    if architecture.tied:
        found.pop("lm_head.weight", None)  # some writers store the tied matrix twice
    found = {name: tensor for name, tensor in found.items() if not name.endswith("rotary_emb.inv_freq")}
    if lacking := sorted(wanted.keys() - found.keys()):
        raise ValueError(f"{folder}: tensor {lacking[0]} is missing ({len(lacking)} in all); the weights do not fit config.json")
    if extra := sorted(found.keys() - wanted.keys()):
        raise ValueError(f"{folder}: tensor {extra[0]} is unknown to a {architecture.family} model ({len(extra)} in all)")
    for name, shape in wanted.items():
        if tuple(found[name].shape) != shape:
            raise ValueError(f"{folder}: tensor {name} has shape {tuple(found[name].shape)}, config.json implies {shape}")
    model.load_state_dict({name: t.to(dtype) if dtype else t for name, t in found.items()}, assign=True)
    model.requires_grad_(True)
    return model, config


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")):
        raise ValueError(f"{folder} has no tokenizer files; copy tokenizer.json and tokenizer_config.json of the model there")
    return AutoTokenizer.from_pretrained(folder)


def end_ids(folder: Path, config: Mapping[str, Any]) -> frozenset[int]:
    """The end tokens that config.json and generation_config.json name."""
    named = [config.get("eos_token_id")]
    if (folder / "generation_config.json").is_file():
        named.append(read_json(folder / "generation_config.json").get("eos_token_id"))
    return frozenset(int(i) for ids in named if ids is not None for i in (ids if isinstance(ids, list) else [ids]))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object so that a reader sees the old file or the new one, never half of it."""
    scratch = path.with_name(path.name + ".tmp")
    scratch.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(scratch, path)


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors, atomically, as one safetensors file."""
    scratch = path.with_name(path.name + ".tmp")
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, scratch, metadata={"format": "pt"})
    os.replace(scratch, path)


def write_model(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a folder that transformers, TRL and vLLM load."""
    folder.mkdir(parents=True, exist_ok=True)
    dtype = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    write_json(folder / "config.json", {**config, "dtype": dtype})
    tokenizer.save_pretrained(folder)
    write_safetensors(folder / WEIGHTS, tensors)


@torch.no_grad()
def put_weights(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], policy: str) -> None:
    """Copy ``weights`` into the tensors ``own``; ValueError, with nothing changed, where names or shapes differ."""
    if odd := sorted(own.keys() ^ weights.keys()):
        raise ValueError(f"weights do not fit policy {policy!r}: {odd[0]} is in only one of the two ({len(odd)} such names)")
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"weights do not fit policy {policy!r}: {name} has shape {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
            )
    for name, tensor in weights.items():
        own[name].copy_(tensor)
