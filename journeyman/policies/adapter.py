"""Low-rank adapters in PEFT's file format.

    y = W x + scale * B (A x),   scale = alpha / rank   (alpha / sqrt(rank) when rank-stabilised)

LoRA, Hu et al. 2021, arXiv 2106.09685: A (rank, in) starts Kaiming-uniform, B (out, rank) starts zero, W never moves.
Differs from the paper in nothing but the choice of layers: every projection of a block may carry one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from journeyman.policies.decoder import CausalLM, Layer, Linear
from journeyman.policies.folder import read_json, read_safetensors, write_json, write_safetensors

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """The numbers of an ``adapter_config.json``. ``base`` is the folder or name of the model it adapts."""

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = TARGETS
    rank_stabilised: bool = False
    base: str = ""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"LoRA rank is {self.rank}, expected at least 1")
        if not self.targets or set(self.targets) - set(TARGETS):
            raise ValueError(f"LoRA targets are {', '.join(self.targets) or 'none'}; expected some of {', '.join(TARGETS)}")

    @property
    def scale(self) -> float:
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilised else self.rank)


class LoraLinear(Linear):
    """A frozen linear layer and its adapter; parameter names are ``weight``, ``lora_A.weight``, ``lora_B.weight``."""

    def __init__(self, base: Linear, adapter: Adapter, source: torch.Generator | None) -> None:
        nn.Module.__init__(self)  # the base's own tensors are taken, none are made
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias
        self.scale = adapter.scale
        like = {"dtype": base.weight.dtype, "device": base.weight.device}
        self.lora_A = nn.Linear(base.in_features, adapter.rank, bias=False, **like)
        self.lora_B = nn.Linear(adapter.rank, base.out_features, bias=False, **like)
        bound = 1 / math.sqrt(base.in_features)
        with torch.no_grad():
            self.lora_A.weight.copy_((torch.rand(self.lora_A.weight.shape, generator=source) * 2 - 1) * bound)
            self.lora_B.weight.zero_()

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias) + self.scale * self.lora_B(self.lora_A(input))

    def dense(self) -> Tensor:
        change = self.lora_B.weight.float() @ self.lora_A.weight.float()
        return (self.weight.float() + self.scale * change).to(self.weight.dtype)

    def base(self) -> Linear:
        plain = Linear(self.in_features, self.out_features, bias=False, device="meta")
        plain.weight, plain.bias = self.weight, self.bias
        return plain


def adapt(model: CausalLM, adapter: Adapter, seed: int) -> None:
    """Freeze the model and put an adapter on each target layer, in place."""
    model.requires_grad_(False)
    source = torch.Generator().manual_seed(seed)
    for layer in model.model.layers:
        assert isinstance(layer, Layer)
        for part in (layer.self_attn, layer.mlp):
            for name, child in list(part.named_children()):
                if name in adapter.targets and isinstance(child, Linear):
                    setattr(part, name, LoraLinear(child, adapter, source))


def write_adapter(folder: Path, adapter: Adapter, tensors: Mapping[str, Tensor], tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a folder that ``peft.PeftModel.from_pretrained`` reads; the tokenizer goes with it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.base,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "use_rslora": adapter.rank_stabilised,
        "target_modules": list(adapter.targets),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    write_json(folder / CONFIG, config)
    tokenizer.save_pretrained(folder)
    write_safetensors(folder / WEIGHTS, {_PREFIX + name: t for name, t in tensors.items()})


def read_adapter(folder: Path) -> tuple[Adapter, dict[str, Tensor]]:
    """The adapter of a PEFT folder and its tensors by this project's names."""
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder} has no {CONFIG}; give a folder that peft or journeyman wrote")
    config: dict[str, Any] = read_json(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{folder}: peft_type is {config.get('peft_type')!r}, expected 'LORA'")
    plain = {"bias": "none", "use_dora": False, "modules_to_save": None, "fan_in_fan_out": False}
    plain |= {"layers_to_transform": None, "layers_pattern": None, "lora_bias": False}
    for key, value in plain.items():
        if (found := config.get(key, value)) != value and found:
            raise ValueError(f"{folder}: {key} is {found!r}; only plain LoRA is read ({key} = {value!r})")
    for key in ("rank_pattern", "alpha_pattern"):
        if config.get(key):
            raise ValueError(f"{folder}: {key} is {config[key]!r}; only one rank and alpha for all layers is read")
    targets = config.get("target_modules") or ()
    if isinstance(targets, str):
        raise ValueError(f"{folder}: target_modules is the pattern {targets!r}, expected a list of layer names")
    adapter = Adapter(
        rank=int(config["r"]),
        alpha=float(config["lora_alpha"]),
        targets=tuple(sorted(targets)),
        rank_stabilised=bool(config.get("use_rslora", False)),
        base=str(config.get("base_model_name_or_path") or ""),
    )
    return adapter, {name.removeprefix(_PREFIX): t for name, t in read_safetensors(folder / WEIGHTS).items()}
