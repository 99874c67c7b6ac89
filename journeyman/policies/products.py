"""Float32 matrix products on a CPU by the faster of torch's two libraries.

On AMD processors MKL, which torch takes, leaves their 512-bit units idle; oneDNN, which torch carries too, does not, and is
ahead wherever a product is large enough to pay for its longer call (runs/bench_choices.log). Elsewhere, and for
small products, these functions are torch's own. The choice depends on the processor and the shapes only, so that runs repeat.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LARGE, LARGE_SUM = 5_000_000, 30_000_000  # multiplications from which oneDNN is ahead, without and with a sum to add to


@functools.cache
def onednn_is_ahead() -> bool:
    """Whether this is an AMD processor and torch was built with oneDNN."""
    cpu = Path("/proc/cpuinfo")
    return torch.backends.mkldnn.is_available() and cpu.exists() and "AuthenticAMD" in cpu.read_text()


def _by_onednn(x: Tensor, n: int, least: int = LARGE) -> bool:
    return (
        x.numel() * n >= least
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and onednn_is_ahead()
        and not torch.is_autocast_enabled("cpu")
    )


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (N, in) @ weight.T + bias, for weight (out, in) of any strides."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.bias = bias is not None
        return _onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        dy = dy.contiguous()
        dx = _onednn(dy, weight.t()) if ctx.needs_input_grad[0] else None
        dw = torch.mm(dy.t(), x) if ctx.needs_input_grad[1] else None  # its long inner dimension suits MKL
        return dx, dw, dy.sum(0) if ctx.bias and ctx.needs_input_grad[2] else None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., in) @ weight (out, in).T + bias, differentiable."""
    if not _by_onednn(x, len(weight)):
        return F.linear(x, weight, bias)
    flat = x.reshape(-1, x.shape[-1])
    return _Linear.apply(flat, weight, bias).view(*x.shape[:-1], len(weight))  # type: ignore[union-attr]


def product(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (N, in) @ matrix (in, out) + bias, without gradients."""
    if _by_onednn(x, matrix.shape[1]):
        return _onednn(x, matrix.t(), bias)
    return torch.mm(x, matrix) if bias is None else torch.addmm(bias, x, matrix)


def add_product(h: Tensor, x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """h (N, out) + x (N, in) @ matrix (in, out) + bias, without gradients; h may be overwritten."""
    if _by_onednn(x, matrix.shape[1], LARGE_SUM):
        return torch.ops.mkldnn._linear_pointwise.binary(x, h, matrix.t(), bias, "add")
    h.addmm_(x, matrix)
    if bias is not None:
        h += bias
    return h
