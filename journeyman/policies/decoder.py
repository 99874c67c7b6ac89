"""A compact causal language model of the Llama and Qwen families, in plain torch.

Tensor names are those of transformers, so state dicts are interchangeable. This module is the differentiable path
(training and exact scoring); ``fused.py`` holds the copy of the weights that the sampling engine steps with.

    h = embed(tokens);  h += attention(norm(h));  h += down(silu(gate(norm(h))) * up(norm(h)));  logits = head(norm(h))

with RMSNorm (Zhang and Sennrich 2019, arXiv 1910.07467), rotary positions (Su et al. 2021, arXiv 2104.09864),
grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245), SwiGLU (Shazeer 2020, arXiv 2002.05202) and, for
Qwen3, a norm over each query and key head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from journeyman.policies.compiled import RmsNorm, SwiGlu, fast
from journeyman.policies.products import linear

FAMILIES = ("llama", "qwen2", "qwen3")
ROPES = ("default", "linear", "llama3")


@dataclass(frozen=True)
class Architecture:
    """The numbers of a ``config.json`` that the model needs."""

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    context: int
    tied: bool
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    rope_type: str
    rope_theta: float
    rope: tuple[tuple[str, float], ...] = ()  # what a scaled rope reads besides: factor ...

    @staticmethod
    def of(config: Mapping[str, Any]) -> Architecture:
        """Read a transformers configuration; ValueError where this model would compute something else."""
        family = config.get("model_type")
        if family not in FAMILIES:
            raise ValueError(f"config.json: model_type is {family!r}; this decoder reads {', '.join(FAMILIES)} (others load as HF)")
        missing = [
            k
            for k in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
            if k not in config
        ]
        if missing:
            raise ValueError(f"config.json lacks {', '.join(missing)}; expected the configuration of a {family} causal model")
        if config.get("hidden_act", "silu") != "silu":
            raise ValueError(f"config.json: hidden_act is {config['hidden_act']!r}, expected 'silu'")
        if "sliding_attention" in (config.get("layer_types") or ()) or (
            config.get("use_sliding_window") and config.get("sliding_window")
        ):
            raise ValueError(
                "config.json asks for sliding-window attention; expected full attention in every layer (use HF instead)"
            )
        heads = int(config["num_attention_heads"])
        kv_heads = int(config.get("num_key_value_heads") or heads)
        if heads % kv_heads:
            raise ValueError(f"config.json: {heads} attention heads cannot share {kv_heads} key-value heads evenly")
        rope = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
        rope_type = str(rope.get("rope_type", rope.get("type", "default")))
        if rope_type not in ROPES or float(rope.get("partial_rotary_factor", 1.0)) != 1.0:
            raise ValueError(f"config.json: rope type {rope_type!r} is none of {', '.join(ROPES)} over whole heads (or use HF)")
        wanted = {"default": (), "linear": ("factor",), "llama3": _LLAMA3}[rope_type]
        if lacking := [k for k in wanted if k not in rope]:
            raise ValueError(f"config.json: rope type {rope_type!r} lacks {', '.join(lacking)}")
        bias = bool(config.get("attention_bias", False))
        return Architecture(
            family=family,
            vocab_size=int(config["vocab_size"]),
            hidden_size=int(config["hidden_size"]),
            intermediate_size=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=kv_heads,
            head_dim=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
            eps=float(config.get("rms_norm_eps", 1e-6)),
            context=int(config.get("max_position_embeddings", 2048)),
            tied=bool(config.get("tie_word_embeddings", False)),
            qkv_bias=bias or family == "qwen2",
            o_bias=bias and family != "qwen2",
            mlp_bias=bool(config.get("mlp_bias", False)),
            rope_type=rope_type,
            rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
            rope=tuple((k, float(rope[k])) for k in wanted),
        )

    def frequencies(self) -> Float[Tensor, " half"]:
        """Rotary angular frequencies (head_dim / 2), radians per position, after scaling."""
        freq = 1.0 / (self.rope_theta ** (torch.arange(0, self.head_dim, 2, dtype=torch.float32) / self.head_dim))
        known = dict(self.rope)
        if self.rope_type == "linear":
            return freq / known["factor"]
        if self.rope_type == "llama3":
            low, high, old = known["low_freq_factor"], known["high_freq_factor"], known["original_max_position_embeddings"]
            turns = old * freq / (2 * math.pi)  # full turns within the original context
            smooth = ((turns - low) / (high - low)).clamp(0, 1)
            return freq * (smooth + (1 - smooth) / known["factor"])
        return freq


_REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


class Linear(nn.Linear):
    """A linear layer that can say which dense matrix it applies (an adapted layer says base + adapter)."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)

    def dense(self) -> Tensor:
        return self.weight

    def base(self) -> Linear:
        """The layer without its adapter."""
        return self


def stacked(x: Tensor, *layers: Linear) -> Tensor:
    """The outputs of layers with one input beside each other. On a CPU by one product, unless some are adapted: the stacked
    weights are kept for the backward pass, which is too much on a GPU and gains nothing there."""
    if x.device.type != "cpu" or any(layer.base() is not layer for layer in layers):
        return torch.cat([layer(x) for layer in layers], dim=-1)
    weights: list[Tensor] = [layer.weight for layer in layers]
    biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
    return linear(x, torch.cat(weights), torch.cat(biases) if biases else None)


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if (use := fast(x)) is not None:
            return RmsNorm.apply(use, x, self.weight, self.eps)  # type: ignore[return-value]
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x[j], x[j + half]) of the last dimension by its angle."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = a.heads, a.kv_heads, a.head_dim
        self.q_proj = Linear(a.hidden_size, a.heads * a.head_dim, bias=a.qkv_bias)
        self.k_proj = Linear(a.hidden_size, a.kv_heads * a.head_dim, bias=a.qkv_bias)
        self.v_proj = Linear(a.hidden_size, a.kv_heads * a.head_dim, bias=a.qkv_bias)
        self.o_proj = Linear(a.heads * a.head_dim, a.hidden_size, bias=a.o_bias)
        if a.family == "qwen3":
            self.q_norm: nn.Module = RMSNorm(a.head_dim, a.eps)
            self.k_norm: nn.Module = RMSNorm(a.head_dim, a.eps)
        else:
            self.q_norm, self.k_norm = nn.Identity(), nn.Identity()

    def _heads(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, T, D) -> q (B, H, T, hd), k and v (B, KV, T, hd)."""
        qkv = stacked(x, self.q_proj, self.k_proj, self.v_proj).view(*x.shape[:2], self.heads + 2 * self.kv_heads, self.head_dim)
        q, k, v = qkv.split((self.heads, self.kv_heads, self.kv_heads), dim=2)
        q, k = self.q_norm(q).transpose(1, 2), self.k_norm(k).transpose(1, 2)
        return rotate(q, cos, sin), rotate(k, cos, sin), v.transpose(1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Causal attention: q (B, H, T, hd), k and v (B, KV, T, hd) -> (B, T, H * hd)."""
        with torch.autocast("cpu", enabled=False):  # where only products are bfloat16, see docs/design.md
            y = F.scaled_dot_product_attention(q, k, v.to(q.dtype), is_causal=True, enable_gqa=self.heads != self.kv_heads)
        return y.transpose(1, 2).flatten(2)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return self.o_proj(self.attend(*self._heads(x, cos, sin)))


class MLP(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.gate_proj = Linear(a.hidden_size, a.intermediate_size, bias=a.mlp_bias)
        self.up_proj = Linear(a.hidden_size, a.intermediate_size, bias=a.mlp_bias)
        self.down_proj = Linear(a.intermediate_size, a.hidden_size, bias=a.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        gate_up = stacked(x, self.gate_proj, self.up_proj)
        if (use := fast(gate_up)) is not None:
            return self.down_proj(SwiGlu.apply(use, gate_up.flatten(0, -2)).view(*x.shape[:-1], -1))
        gate, up = gate_up.chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(a), MLP(a)
        self.input_layernorm = RMSNorm(a.hidden_size, a.eps)
        self.post_attention_layernorm = RMSNorm(a.hidden_size, a.eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Backbone(nn.Module):
    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(a.vocab_size, a.hidden_size)
        self.layers = nn.ModuleList(Layer(a) for _ in range(a.layers))
        self.norm = RMSNorm(a.hidden_size, a.eps)


class CausalLM(nn.Module):
    """tokens (B, T), padded on the right, -> logits (B, T, V). Padding needs no mask: causal attention never looks right."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.model = Backbone(architecture)
        if not architecture.tied:
            self.lm_head = Linear(architecture.hidden_size, architecture.vocab_size, bias=False)

    @torch.no_grad()
    def initialise(self, seed: int, std: float = 0.02) -> None:
        """Fresh weights: normal with this standard deviation, norms one, biases zero."""
        source = torch.Generator().manual_seed(seed)
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                p.zero_()
            elif p.dim() == 1:
                p.fill_(1.0)
            else:
                p.copy_(torch.randn(p.shape, generator=source) * std)

    @property
    def head(self) -> Tensor:
        """The output matrix (V, D)."""
        return self.model.embed_tokens.weight if self.architecture.tied else self.lm_head.weight

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of final hidden states (..., D)."""
        return linear(hidden, self.head)

    def hidden(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """The final normalised hidden states, which ``logits`` reads."""
        h = self.model.embed_tokens(tokens)
        cos, sin = angles(self.architecture, torch.arange(tokens.shape[1], device=tokens.device), h.dtype)
        for layer in self.model.layers:
            h = layer(h, cos, sin)
        return self.model.norm(h)

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        return self.logits(self.hidden(tokens))


def angles(architecture: Architecture, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin (..., head_dim) of positions (...)."""
    angle = positions[..., None].float() * architecture.frequencies().to(positions.device)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos().to(dtype), angle.sin().to(dtype)
