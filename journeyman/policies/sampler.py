"""Drawing one token a row, each row with its own seed, temperature and nucleus."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from journeyman.policies.kernels import Kernels

_BLOCK = 64  # the inverse of the distribution function is found block first, then inside the block


def uniforms(seeds: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """One number in [0, 1) a row, a function of (seed, position) alone.

    splitmix64's finaliser (Steele, Lea and Flood 2014) twice over: ``mix(mix(seed) + position * golden)``; the top 22 bits
    are kept, so that u * total < total holds in float32.
    """
    with np.errstate(over="ignore"):
        x = _mix(_mix(seeds.astype(np.uint64)) + positions.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return ((x >> np.uint64(42)).astype(np.float64) / 2.0**22).astype(np.float32)


def _mix(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def invert(p: Float[Tensor, "B V"], u: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
    """The first token whose cumulative mass exceeds u * total. A token of zero mass is never drawn."""
    rows, vocab = p.shape
    if vocab % _BLOCK:
        p = torch.nn.functional.pad(p, (0, _BLOCK - vocab % _BLOCK))
    blocks = p.view(rows, -1, _BLOCK)
    edges = blocks.sum(-1).cumsum(-1)  # (B, V / block)
    at = u[:, None] * edges[:, -1:]
    block = torch.searchsorted(edges, at, right=True)  # (B, 1)
    inside = blocks.gather(1, block[:, :, None].expand(-1, 1, _BLOCK))[:, 0]  # (B, block)
    left = at - torch.where(block > 0, edges.gather(1, (block - 1).clamp(min=0)), 0.0)
    within = inside.cumsum(-1)
    # The block's own sum and the difference of the edges round differently: stay below the former.
    left = torch.minimum(left, within[:, -1:] * (1 - 2.0**-22))
    return (block * _BLOCK + torch.searchsorted(within, left, right=True))[:, 0]


def nucleus(p: Float[Tensor, "B V"], top_p: Float[Tensor, " B"]) -> Float[Tensor, "B V"]:
    """Zero all but the smallest set of most likely tokens whose mass reaches ``top_p`` (Holtzman et al. 2019, arXiv 1904.09751)."""
    ordered, order = p.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    drop = before >= top_p[:, None]
    drop[:, 0] = False
    return p.masked_fill(torch.zeros_like(drop).scatter(1, order, drop), 0.0)


def draw(
    logits: Float[Tensor, "B V"], u: np.ndarray, temperature: np.ndarray, top_p: np.ndarray, fast: Kernels | None = None
) -> tuple[Tensor, Tensor]:
    """Token (B) and its log-probability (B) under softmax(logits / temperature), before the nucleus; temperature 0 takes
    the most likely token and reports its log-probability at temperature 1. With compiled kernels ``logits`` is overwritten."""
    if fast is not None and (top_p == 1).all():
        return fast.draw(logits, torch.from_numpy(u), torch.from_numpy(temperature.astype(np.float32)))
    device = logits.device
    greedy = temperature == 0
    logits = logits.float()
    if (temperature[~greedy] != 1).any():
        logits = logits / torch.from_numpy(np.where(greedy, 1, temperature).astype(np.float32)).to(device)[:, None]
    p = torch.softmax(logits, dim=-1)
    if greedy.all():
        token = p.argmax(-1)
    else:
        kept = p
        if (cut := np.flatnonzero((top_p < 1) & ~greedy)).size:
            kept = p.clone()
            rows = torch.from_numpy(cut).to(device)
            kept[rows] = nucleus(p[rows], torch.from_numpy(top_p[cut].astype(np.float32)).to(device))
        token = invert(kept, torch.from_numpy(u).to(device))
        if greedy.any():
            token = torch.where(torch.from_numpy(greedy).to(device), logits.argmax(-1), token)
    return token, p.gather(1, token[:, None])[:, 0].log()
