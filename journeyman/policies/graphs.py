"""One token a row on a GPU: what ``Fused.step`` computes, in shapes that stay, compiled, and on CUDA recorded once and replayed.

On a GPU a small model waits for kernels to be launched rather than to be done. So rows are padded to a power of two, and attention
goes over the whole block of the cache under a mask: from one step to the next only tokens, positions and the column change, and
they are written into a tensor that stays. ``torch.compile`` makes two functions of a layer's arithmetic, for any number of rows and
columns; weights are arguments, so that a new version compiles nothing. A CUDA graph of the whole step (which holds addresses)
serves until weights, block or rows change; to record one, the step is run once and captured once.

No GPU was at hand: the recording has never run and no speed on a GPU has been measured. The same arithmetic, compiled, is tested
on a CPU (tests/policies/test_graphs.py), and where its tensors lie on a pretend device (tests/policies/test_devices.py).
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch._dynamo  # takes about a second: import this module only where it is used
from torch import Tensor
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
from torch.nn import functional as F

from journeyman.policies.cache import Cache
from journeyman.policies.decoder import Architecture, rotate
from journeyman.policies.fused import Block, Fused
from journeyman.policies.products import Int8

Backend = str | Callable[..., Any] | None
log = logging.getLogger(__name__)


def _product(x: Tensor, matrix: Tensor | Int8, bias: Tensor | None, to: Tensor | None = None) -> Tensor:
    """x @ matrix (+ bias) (+ to), without a choice that depends on sizes, which would be compiled in."""
    assert isinstance(matrix, Tensor), "int8 products need the CPU kernels"
    if to is not None:
        y = torch.addmm(to, x, matrix)
        return y if bias is None else y + bias
    return torch.mm(x, matrix) if bias is None else torch.addmm(bias, x, matrix)


def heads(a: Architecture, block: Block, h: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Residual stream h (R, D) -> q (R, KV, H / KV, hd), k and v (R, KV, 1, hd)."""
    x = F.rms_norm(h, h.shape[-1:], block.norm, a.eps)
    qkv = _product(x, block.qkv, block.qkv_bias).unflatten(1, (a.heads + 2 * a.kv_heads, a.head_dim))
    qk, v = qkv[:, : a.heads + a.kv_heads], qkv[:, a.heads + a.kv_heads :]
    if block.head_norm is not None:
        qk = F.rms_norm(qk, qk.shape[-1:], None, a.eps) * block.head_norm
    qk = rotate(qk, cos, sin)
    q = qk[:, : a.heads].unflatten(1, (a.kv_heads, a.heads // a.kv_heads))
    return q, qk[:, a.heads :, None], v[:, :, None]


def finish(a: Architecture, block: Block, h: Tensor, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """h (R, D) after attention to the columns of keys and values (R, KV, C, hd) where mask (R, C) is 0, and after the MLP."""
    score = torch.matmul(q, keys.transpose(2, 3)).float() * a.head_dim**-0.5 + mask[:, None, None]  # (R, KV, H / KV, C)
    y = torch.matmul(torch.softmax(score, dim=-1).to(h.dtype), values).flatten(1)
    h = _product(y, block.o, block.o_bias, h)
    gate_up = _product(F.rms_norm(h, h.shape[-1:], block.mlp_norm, a.eps), block.gate_up, block.gate_up_bias)
    gate, up = gate_up.chunk(2, dim=-1)
    return _product(F.silu(gate) * up, block.down, block.down_bias, h)


class Layer:
    """``heads`` and ``finish`` compiled by ``backend``; as they stand where it is None, and from when compiling has failed."""

    def __init__(self, backend: Backend) -> None:
        self.heads, self.finish = heads, finish
        if backend is not None:
            self.heads = torch.compile(heads, backend=backend, dynamic=False, fullgraph=True)
            self.finish = torch.compile(finish, backend=backend, dynamic=False, fullgraph=True)

    def give_up(self, error: Exception) -> None:
        log.warning("going on without compiled steps: %s", " ".join(str(error).split("\n")[:2]))  # the rest is how to debug it
        self.heads, self.finish = heads, finish


layer = functools.cache(Layer)  # one for the process: what cannot be compiled is not tried again by every engine


def _any(x: Tensor, *dims: int) -> Tensor:
    """x, to be compiled for any size of these dimensions (all others are constants)."""
    torch._dynamo.mark_dynamic(x, dims)
    return x


@functools.cache
def _side(device: torch.device) -> torch.cuda.Stream:
    """The stream for recordings: one, since the library of matrix products keeps memory for each stream it has seen."""
    return torch.cuda.Stream(device)


def recorded(work: Callable[[], Tensor], device: torch.device) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """A CUDA graph of this work, and the tensor that every replay fills. The work is done once before, for compiling, tuning and
    loading may not happen while recording; it must do the same when it is done again."""
    side, main = _side(device), torch.cuda.current_stream()
    side.wait_stream(main)
    with torch.cuda.stream(side):
        work()
    main.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
        result = work()
    return graph, result


class Step:
    """The step for so many rows of one block of the cache, by weights of one version. Keeps all that a recording reads."""

    def __init__(self, weights: Fused, block: Tensor, rows: int, use: Layer) -> None:
        self.weights, self.block, self.use = weights, block[:, :, :rows], use
        self.angles = weights.angles(block.shape[4])
        self.given = torch.zeros(3, rows, dtype=torch.long, device=block.device)  # tokens, positions, and the column (first place)
        self._recorded: tuple[torch.cuda.CUDAGraph, Tensor] | None = None

    def __call__(self, tokens: np.ndarray, positions: np.ndarray, column: int) -> Tensor:
        """Logits (n, V), to be read before the next call. Rows without a call hold token 0, which sees itself only."""
        n = len(tokens)
        given = np.zeros(self.given.shape, dtype=np.int64)
        given[0, :n], given[1, :n], given[2, 0] = tokens, positions, column
        self.given.copy_(torch.from_numpy(given))
        if self.given.device.type != "cuda":
            return self._work()[:n]
        with torch.cuda.device(self.given.device):
            if self._recorded is None:
                self._recorded = recorded(self._work, self.given.device)
            graph, logits = self._recorded
            graph.replay()
        return logits[:n]

    def _work(self) -> Tensor:
        try:
            return self._logits()
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            self.use.give_up(error)
            return self._logits()

    def _logits(self) -> Tensor:
        weights, a = self.weights, self.weights.architecture
        tokens, positions, column = self.given[0], self.given[1], self.given[2, :1]
        columns = torch.arange(self.block.shape[4], device=column.device)
        unseen = (columns > column) | (columns < (column - positions)[:, None])  # (R, C)
        mask = _any(torch.zeros(unseen.shape, device=column.device).masked_fill_(unseen, -math.inf), 0, 1)
        cos, sin = (_any(x.index_select(0, positions)[:, None], 0) for x in self.angles)  # (R, 1, hd)
        h = _any(F.embedding(tokens, weights.embed), 0)
        for i, block in enumerate(weights.blocks):
            keys, values = self.block[i, 0], self.block[i, 1]  # (R, KV, C, hd)
            q, k, v = self.use.heads(a, block, h, cos, sin)
            keys.index_copy_(2, column, k)  # out here, so that no compiled function writes to what another input may share
            values.index_copy_(2, column, v)
            h = self.use.finish(a, block, h, _any(q, 0), _any(keys, 0, 2), _any(values, 0, 2), mask)
        return weights.logits(F.rms_norm(h, h.shape[-1:], weights.norm, a.eps))


class Steps:
    """One more token for every row of a cache. ``backend`` compiles (torch.compile's; None: nothing is compiled)."""

    least = 16
    """Rows of the smallest step: few recordings while the last rows end, and never one row, which would be compiled apart."""

    def __init__(self, backend: Backend = "inductor") -> None:
        self._use = layer(backend)
        self._of: tuple[Fused, Tensor] | None = None
        self._made: dict[int, Step] = {}

    def __call__(self, weights: Fused, cache: Cache, tokens: np.ndarray, positions: np.ndarray) -> Tensor:
        """Logits (n, V) of the first n rows, whose keys and values are written to the column ``cache.clock``."""
        if self._of is None or self._of[0] is not weights or self._of[1] is not cache.data:
            self._of, self._made = (weights, cache.data), {}
        n = len(tokens)
        rows = min(cache.rows, max(self.least, 1 << (n - 1).bit_length()))
        if rows not in self._made:
            self._made[rows] = Step(weights, cache.data, rows, self._use)
        return self._made[rows](tokens, positions, cache.clock)
