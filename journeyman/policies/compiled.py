"""The kernels of ``learning.cpp`` as differentiable functions, for learning in float32 on a CPU.

``fast(x)`` says whether they can be used for a tensor; who calls them has a torch path for when not. Each saves its inputs only
and works its gradient out from them in one pass, where torch's own operations make several and keep what lies between.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from journeyman.policies import kernels


def fast(x: Tensor) -> kernels.Kernels | None:
    """The kernels, where they can work on ``x``."""
    return kernels.load() if x.dtype == torch.float32 and x.device.type == "cpu" else None


class RmsNorm(torch.autograd.Function):
    """y (..., D) = x / sqrt(mean(x^2) + eps) * weight."""

    @staticmethod
    def forward(ctx: Any, use: kernels.Kernels, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        ctx.use, ctx.eps = use, eps
        ctx.save_for_backward(x, weight)
        return use.rms_norm(x.view(-1, x.shape[-1]), weight, eps).view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        width = x.shape[-1]
        dx, dw = ctx.use.rms_norm_backward(x.view(-1, width), dy.contiguous().view(-1, width), weight, ctx.eps)
        return None, dx.view(x.shape), dw, None


class Heads(torch.autograd.Function):
    """qkv (N, H + 2 KV, hd) -> q (B, H, T, hd), k, v (B, KV, T, hd) in their places: queries and keys normalised by head where
    ``wq`` and ``wk`` (hd) are given, and turned by their positions."""

    @staticmethod
    def forward(
        ctx: Any,
        use: kernels.Kernels,
        qkv: Tensor,
        places: kernels.Places,
        heads: int,
        wq: Tensor | None,
        wk: Tensor | None,
        eps: float,
        angles: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        qkv = qkv.contiguous()
        ctx.use, ctx.given = use, (places, heads, eps, angles)
        ctx.save_for_backward(qkv, wq, wk)
        return use.heads(qkv, places, heads, None if wq is None or wk is None else (wq, wk), eps, angles)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        qkv, wq, wk = ctx.saved_tensors
        places, heads, eps, angles = ctx.given
        dqkv, norms = ctx.use.heads_backward(qkv, places, heads, None if wq is None else (wq, wk), eps, angles, gradients)
        return None, dqkv, None, None, *(norms or (None, None)), None, None


class Take(torch.autograd.Function):
    """x (M, D) -> x[first] (N, D), for indices that do not repeat."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, first: Tensor) -> Tensor:
        ctx.save_for_backward(first)
        ctx.length = len(x)
        return x.index_select(0, first)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (first,) = ctx.saved_tensors
        return dy.new_zeros(ctx.length, dy.shape[1]).index_copy_(0, first, dy), None


class SwiGlu(torch.autograd.Function):
    """gate_up (N, 2 I) -> silu(gate) * up (N, I)."""

    @staticmethod
    def forward(ctx: Any, use: kernels.Kernels, gate_up: Tensor) -> Tensor:
        gate_up = gate_up.contiguous()
        ctx.use = use
        ctx.save_for_backward(gate_up)
        return use.swiglu(gate_up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return None, ctx.use.swiglu_backward(*ctx.saved_tensors, dy.contiguous())


class LogProb(torch.autograd.Function):
    """logits (N, V) -> log softmax(logits / temperature)[tokens] (N) and the entropy of that distribution (N)."""

    @staticmethod
    def forward(ctx: Any, use: kernels.Kernels, logits: Tensor, tokens: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
        logits, tokens, temperature = logits.contiguous(), tokens.contiguous(), temperature.contiguous()
        logp, entropy, normaliser = use.log_prob(logits, tokens, temperature)
        ctx.use = use
        ctx.save_for_backward(logits, tokens, temperature, entropy, normaliser)
        ctx.set_materialize_grads(False)
        return logp, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dlogp: Tensor | None, dentropy: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        logits, *inputs = ctx.saved_tensors
        dlogp = logits.new_zeros(len(logits)) if dlogp is None else dlogp.contiguous()
        spread = None if dentropy is None else dentropy.contiguous()
        return None, ctx.use.log_prob_backward(logits, inputs, dlogp, spread), None, None


def log_prob(logits: Tensor, tokens: Tensor, temperature: Tensor, entropy: bool = True) -> tuple[Tensor, Tensor]:
    """Of float32 logits (N, V): log softmax(logits / temperature)[tokens] (N) and the entropy (N, nats; zero unless wanted)."""
    if (use := fast(logits)) is not None:
        return LogProb.apply(use, logits, tokens, temperature)  # type: ignore[return-value]
    each = torch.log_softmax(logits / temperature[:, None], dim=-1)
    logp = each.gather(1, tokens[:, None])[:, 0]
    return logp, -(each.exp() * each).sum(-1) if entropy else torch.zeros_like(logp)
