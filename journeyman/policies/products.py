"""Float32 matrix products on a CPU by the faster of torch's two libraries.

On AMD processors MKL, which torch takes, leaves their 512-bit units idle; oneDNN, which torch carries too, does not, and is
ahead wherever a product is large enough to pay for its longer call (runs/bench_choices.log). Elsewhere, and for
small products, these functions are torch's own. The choice depends on the processor and the shapes only, so that runs repeat.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from journeyman.policies import kernels

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


_half: ContextVar[bool] = ContextVar("products in bfloat16", default=False)


@contextmanager
def half(on: bool) -> Iterator[None]:
    """Within, ``linear`` rounds the operands of float32 products on a CPU to bfloat16, forward and backward, as mixed precision
    does; sums are float32, results rounded to bfloat16. Weights, their gradients and all else stay float32."""
    before = _half.set(on)
    try:
        yield
    finally:
        _half.reset(before)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., in) @ weight (out, in).T + bias, differentiable."""
    if _half.get() and x.dtype == torch.float32 and x.device.type == "cpu":
        y = F.linear(x.bfloat16(), weight.bfloat16()).float()  # what is saved for the gradient is half as large too
        return y if bias is None else y + bias
    if not _by_onednn(x, len(weight)):
        return F.linear(x, weight, bias)
    flat = x.reshape(-1, x.shape[-1])
    return _Linear.apply(flat, weight, bias).view(*x.shape[:-1], len(weight))  # type: ignore[union-attr]


class Int8(NamedTuple):
    """A matrix (in, out) as whole numbers of -127 to 127 times a scale a column (out)."""

    whole: Tensor
    scale: Tensor

    @property
    def shape(self) -> torch.Size:
        return self.whole.shape


def int8(matrix: Tensor) -> Int8:
    """The nearest such matrix; its product with rows quantised in the same way is exact in 32-bit whole numbers."""
    scale = matrix.abs().amax(0).div_(127).clamp_min_(1e-12)
    return Int8((matrix / scale).round_().to(torch.int8), scale)


def _int8_product(x: Tensor, matrix: Int8, to: Tensor | None = None) -> Tensor:
    use = kernels.load()
    assert use is not None, "int8 sampling needs the compiled kernels"
    whole, row = use.quantise(x)
    found = torch._int_mm(whole, matrix.whole)  # type: ignore[attr-defined]
    return use.rescale(found, row, matrix.scale, to)


def product(x: Tensor, matrix: Tensor | Int8, bias: Tensor | None = None) -> Tensor:
    """x (N, in) @ matrix (in, out) + bias, without gradients."""
    if isinstance(matrix, Int8):
        y = _int8_product(x, matrix)
        return y if bias is None else y.add_(bias)
    if _by_onednn(x, matrix.shape[1]):
        return _onednn(x, matrix.t(), bias)
    return torch.mm(x, matrix) if bias is None else torch.addmm(bias, x, matrix)


def add_product(h: Tensor, x: Tensor, matrix: Tensor | Int8, bias: Tensor | None = None) -> Tensor:
    """h (N, out) + x (N, in) @ matrix (in, out) + bias, without gradients; h may be overwritten."""
    if isinstance(matrix, Int8):
        h = _int8_product(x, matrix, h)
        return h if bias is None else h.add_(bias)
    if _by_onednn(x, matrix.shape[1], LARGE_SUM):
        return torch.ops.mkldnn._linear_pointwise.binary(x, h, matrix.t(), bias, "add")
    h.addmm_(x, matrix)
    if bias is not None:
        h += bias
    return h
