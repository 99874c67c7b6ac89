"""The copy of the weights that the engine steps with: fused for few, large matrix products, frozen at one version.

Adapters are merged into it, so sampling costs the same with and without them. It is as large as the model; it is made
once a version and never written, so that a snapshot can go on sampling from it while the model trains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from journeyman.policies import kernels
from journeyman.policies.decoder import CausalLM, Layer, Linear, RMSNorm, angles, rotate
from journeyman.policies.products import Int8, add_product, int8, linear, product
from journeyman.policies.scoring import score_sequences


class Block(NamedTuple):
    """One layer. Matrices stand as (in, out); query, key and value are one, gate and up are one. In float32 the weight of a
    norm is multiplied into the matrix that follows it (and is None here); in 16 bits that would round."""

    norm: Tensor | None
    qkv: Tensor | Int8
    qkv_bias: Tensor | None
    head_norm: Tensor | None  # (H + KV, head_dim)
    o: Tensor | Int8
    o_bias: Tensor | None
    mlp_norm: Tensor | None
    gate_up: Tensor | Int8
    gate_up_bias: Tensor | None
    down: Tensor | Int8
    down_bias: Tensor | None


def _stack(*linears: Linear) -> tuple[Tensor, Tensor | None]:
    weight = torch.cat([x.dense().detach() for x in linears]).t().contiguous()
    biases = [x.bias.detach() for x in linears if x.bias is not None]
    return weight, torch.cat(biases).clone() if biases else None


def _block(layer: Layer) -> Block:
    at, mlp = layer.self_attn, layer.mlp
    norm, mlp_norm = layer.input_layernorm.weight.clone(), layer.post_attention_layernorm.weight.clone()
    qkv, qkv_bias = _stack(at.q_proj, at.k_proj, at.v_proj)
    gate_up, gate_up_bias = _stack(mlp.gate_proj, mlp.up_proj)
    o, o_bias = _stack(at.o_proj)
    down, down_bias = _stack(mlp.down_proj)
    if fold := norm.dtype == torch.float32:
        qkv, gate_up = norm[:, None] * qkv, mlp_norm[:, None] * gate_up
    head_norm = None
    if isinstance(at.q_norm, RMSNorm) and isinstance(at.k_norm, RMSNorm):
        head_norm = torch.cat([at.q_norm.weight.expand(at.heads, -1), at.k_norm.weight.expand(at.kv_heads, -1)])
    return Block(
        norm=None if fold else norm,
        qkv=qkv,
        qkv_bias=qkv_bias,
        head_norm=head_norm,
        o=o,
        o_bias=o_bias,
        mlp_norm=None if fold else mlp_norm,
        gate_up=gate_up,
        gate_up_bias=gate_up_bias,
        down=down,
        down_bias=down_bias,
    )


def _rms(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """RMSNorm over the last dimension. In float32 by hand, since the library's CPU version makes five passes over x."""
    if x.dtype != torch.float32:
        y = F.rms_norm(x, x.shape[-1:], None, eps)
        return y if weight is None else y * weight
    size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    y = x * size.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
    return y if weight is None else y.mul_(weight)


class Fused:
    """Weights of one version, for prompts (``prefill``) and for one token a row (``step``)."""

    @torch.inference_mode(False)  # the same kind of tensors wherever it is made: compiled functions tell them apart
    @torch.no_grad()
    def __init__(self, model: CausalLM, version: int, quantised: bool = False) -> None:
        self.version = version
        self.architecture = model.architecture
        self.embed = model.model.embed_tokens.weight.detach().clone()
        self.head = self.embed if model.architecture.tied else model.lm_head.dense().detach().clone()
        self.norm = model.model.norm.weight.detach().clone()
        self.blocks = [_block(layer) for layer in model.model.layers]  # type: ignore[arg-type]
        cos, sin = angles(self.architecture, torch.arange(256, device=self.embed.device), self.embed.dtype)
        self._cos, self._sin = cos, sin
        compilable = self.embed.dtype == torch.float32 and self.embed.device.type == "cpu"
        self.kernels = kernels.load() if compilable and self.architecture.head_dim in kernels.HEAD_DIMS else None
        "What ``step`` and the draw use where it is not None."
        self._head: Int8 | None = None
        if quantised:
            if self.kernels is None:
                raise ValueError("sampling in int8 needs a float32 model on a CPU and a C++ compiler; leave int8 out")
            matrices = ("qkv", "o", "gate_up", "down")
            self.blocks = [b._replace(**{name: int8(getattr(b, name)) for name in matrices}) for b in self.blocks]
            self._head = int8(self.head.t().contiguous())

    def angles(self, upto: int) -> tuple[Tensor, Tensor]:
        """Tables (at least upto, head_dim) of cos and sin."""
        if len(self._cos) < upto:
            positions = torch.arange(2 * upto, device=self.embed.device)
            self._cos, self._sin = angles(self.architecture, positions, self.embed.dtype)
        return self._cos, self._sin

    def _heads(self, block: Block, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (N, D) -> q (N, H, hd), k (N, KV, hd), v (N, KV, hd)."""
        a = self.architecture
        qkv = product(x, block.qkv, block.qkv_bias).view(len(x), a.heads + 2 * a.kv_heads, a.head_dim)
        qk = qkv[:, : a.heads + a.kv_heads]
        if block.head_norm is not None:
            qk = _rms(qk, block.head_norm, a.eps)
        qk = rotate(qk, cos, sin)
        return qk[:, : a.heads], qk[:, a.heads :], qkv[:, a.heads + a.kv_heads :]

    def _finish(self, block: Block, h: Tensor, y: Tensor) -> Tensor:
        """Residual stream h (N, D) after attention output y (N, H * hd) and the MLP; h is overwritten."""
        a = self.architecture
        h = add_product(h, y, block.o, block.o_bias)
        gu = product(self._rms(h, block.mlp_norm), block.gate_up, block.gate_up_bias)
        if self.kernels is not None:
            return add_product(h, self.kernels.swiglu(gu), block.down, block.down_bias)
        gated = F.silu(gu[:, : a.intermediate_size]).mul_(gu[:, a.intermediate_size :])
        return add_product(h, gated, block.down, block.down_bias)

    def _rms(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """RMSNorm of x (N, D)."""
        eps = self.architecture.eps
        return _rms(x, weight, eps) if self.kernels is None else self.kernels.rms_norm(x, weight, eps)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of final hidden states (..., D)."""
        if self._head is not None:
            return product(hidden.flatten(0, -2), self._head).view(*hidden.shape[:-1], -1)
        return linear(hidden, self.head)

    def prefill(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "layers 2 B KV T hd"]:
        """Keys and values of prompts padded on the right."""
        a = self.architecture
        kept = self.embed.new_empty(a.layers, 2, len(tokens), a.kv_heads, tokens.shape[1], a.head_dim)
        self._read(tokens, kept, to=a.layers - 1)
        return kept

    def hidden(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """The final normalised hidden states."""
        a = self.architecture
        kept = self.embed.new_empty(1, 2, len(tokens), a.kv_heads, tokens.shape[1], a.head_dim)
        h = self._read(tokens, kept.expand(a.layers, -1, -1, -1, -1, -1), to=a.layers)
        return self._rms(h, self.norm).view(*tokens.shape, a.hidden_size)

    def _read(self, tokens: Tensor, kept: Tensor, to: int) -> Tensor:
        """Fill ``kept`` and return the residual stream (B * T, D) after ``to`` layers: a prefill needs no more of the last
        layer than its keys and values."""
        a = self.architecture
        rows, time = tokens.shape
        heads = self._placed_heads(rows, time)
        h = F.embedding(tokens.reshape(-1), self.embed)  # (B * T, D)
        for i, block in enumerate(self.blocks):
            q, kept[i, 0], kept[i, 1] = heads(block, self._rms(h, block.norm))
            if i < to:
                y = F.scaled_dot_product_attention(q, kept[i, 0], kept[i, 1], is_causal=True, enable_gqa=a.heads != a.kv_heads)
                h = self._finish(block, h, y.transpose(1, 2).reshape(rows * time, a.heads * a.head_dim))
        return h

    def _placed_heads(self, rows: int, time: int) -> Callable[[Block, Tensor], tuple[Tensor, Tensor, Tensor]]:
        """What makes of a layer's input (B * T, D) its q (B, H, T, hd), k and v (B, KV, T, hd)."""
        a = self.architecture
        if (fast := self.kernels) is not None:
            places = kernels.Places.dense(rows, time)
            tables = self.angles(time)

            def compiled(block: Block, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
                qkv = product(x, block.qkv, block.qkv_bias).view(len(x), a.heads + 2 * a.kv_heads, a.head_dim)
                norms = None if block.head_norm is None else (block.head_norm[0], block.head_norm[a.heads])
                return fast.heads(qkv, places, a.heads, norms, a.eps, tables)

            return compiled
        cos, sin = (x[:time].repeat(rows, 1)[:, None] for x in self.angles(time))  # (B * T, 1, hd)

        def plain(block: Block, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            q, k, v = (y.unflatten(0, (rows, time)).transpose(1, 2) for y in self._heads(block, x, cos, sin))
            return q, k, v

        return plain

    def step(
        self,
        tokens: Int[Tensor, " B"],
        positions: Int[Tensor, " B"],
        upto: int,
        cache: Float[Tensor, "layers 2 B KV W hd"],
        segments: list[tuple[int, int, int]],
        mask: Float[Tensor, "B W"] | None,
        lent: kernels.Lent | None = None,
    ) -> Float[Tensor, "B V"]:
        """Logits after one more token a row. The last column of ``cache`` receives its key and value; a segment (from,
        to, first) of rows attends to the columns from ``first`` on, where ``mask`` adds 0 or -inf. ``upto`` exceeds
        every position. The compiled kernels need neither segments nor mask: a row reads its own columns only, or those of a row
        that holds the same (``lent``)."""
        if self.kernels is not None:
            own = kernels.Lent(torch.arange(len(tokens)), torch.zeros_like(tokens))
            return self._step(self.kernels, tokens, positions, upto, cache, lent or own)
        a = self.architecture
        rows, wide, group = len(tokens), cache.shape[4], a.heads // a.kv_heads
        cos, sin = (x.index_select(0, positions)[:, None] for x in self.angles(upto))
        h = F.embedding(tokens, self.embed)
        y = h.new_empty(rows * a.kv_heads, group, a.head_dim)
        spread = None
        if mask is not None:  # one line of the mask for every query head of a row
            spread = mask[:, None, None].expand(-1, a.kv_heads, group, -1).reshape(rows * a.kv_heads, group, wide)
        for i, block in enumerate(self.blocks):
            q, k, v = self._heads(block, _rms(h, block.norm, a.eps), cos, sin)
            keys, values = cache[i, 0], cache[i, 1]
            keys[:, :, -1] = k
            values[:, :, -1] = v
            q = q.reshape(rows * a.kv_heads, group, a.head_dim)
            keys, values = (x.reshape(rows * a.kv_heads, wide, a.head_dim) for x in (keys, values))  # views
            for lo, hi, first in segments:
                part = slice(lo * a.kv_heads, hi * a.kv_heads)
                add = q.new_empty(1) if spread is None else spread[part, :, first:]
                score = torch.baddbmm(
                    add, q[part], keys[part, first:].transpose(1, 2), beta=0 if spread is None else 1, alpha=a.head_dim**-0.5
                )  # (b * KV, group, W)
                weight = torch.softmax(score, dim=-1, dtype=torch.float32).to(h.dtype)
                torch.bmm(weight, values[part, first:], out=y[part])
            h = self._finish(block, h, y.view(rows, a.heads * a.head_dim))
        return self.logits(_rms(h, self.norm, a.eps))

    def _step(
        self, fast: kernels.Kernels, tokens: Tensor, positions: Tensor, upto: int, cache: Tensor, lent: kernels.Lent
    ) -> Tensor:
        """``step`` by the compiled kernels."""
        a = self.architecture
        tables = self.angles(upto)
        h = F.embedding(tokens, self.embed)
        for i, block in enumerate(self.blocks):
            x = fast.rms_norm(h, block.norm, a.eps)
            heads = product(x, block.qkv, block.qkv_bias).view(len(h), a.heads + 2 * a.kv_heads, a.head_dim)
            y = fast.attend(heads, a.heads, block.head_norm, a.eps, tables, positions, lent, cache[i])
            h = add_product(h, y, block.o, block.o_bias)
            gate_up = product(fast.rms_norm(h, block.mlp_norm, a.eps), block.gate_up, block.gate_up_bias)
            h = add_product(h, fast.swiglu(gate_up), block.down, block.down_bias)
        return self.logits(fast.rms_norm(h, self.norm, a.eps))

    @torch.inference_mode()
    def score(self, sequences: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
        """Log-probabilities of whole sequences (see ``score_sequences``)."""
        return score_sequences(self.hidden, self.logits, self.architecture.vocab_size, self.embed.device, sequences)
