"""The forward pass without padding, and with what rows share at their beginning gone through once.

The samples of a group have one prompt. What comes before a row's first trained token is the same text for all of them, so its
hidden states are the same; only attention, which is a small part of the work, goes over whole rows:

    h = embed(N distinct tokens);  q, k, v = heads(norm(h)) put into every place (B, T);  h += out(attend(q, k, v)[first place]) ...

Exact: the same states and gradients as row by row, to float32 rounding. Needs the compiled kernels; work saved is
1 - N / (B * T).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from journeyman.policies.compiled import Heads, Take, fast
from journeyman.policies.decoder import CausalLM, Layer, angles, stacked
from journeyman.policies.kernels import Kernels, Places


def usable(model: CausalLM) -> Kernels | None:
    """The kernels, where this model can be gone through by them."""
    return None if torch.is_autocast_enabled("cpu") else fast(model.model.embed_tokens.weight)


def pack(tokens: Tensor, train: Tensor, lengths: Tensor) -> tuple[Int[Tensor, " N"], Places, Int[Tensor, "B T"]]:
    """The distinct tokens of a right-padded batch (B, T), their places, and for each place the number of its token (0 at
    padding). Two rows share the tokens before their first trained one if all of these are the same."""
    ids = tokens.numpy()
    rows, time = ids.shape
    own = np.arange(rows * time).reshape(rows, time)  # for each place the first place of its token
    begins = np.where(train.any(1), train.int().argmax(1), lengths)
    seen: dict[bytes, int] = {}
    for row, begin in enumerate(begins):
        first = seen.setdefault(ids[row, :begin].tobytes(), row)
        own[row, :begin] = own[first, :begin]
    real = np.arange(time) < lengths.numpy()[:, None]
    slots = np.flatnonzero(real)
    first, number, count = np.unique(own.ravel()[slots], return_inverse=True, return_counts=True)
    where = np.zeros(rows * time, np.int64)
    where[slots] = number
    offsets = np.concatenate([[0], np.cumsum(count)])
    in_order = slots[np.argsort(number, kind="stable")]
    first, offsets, in_order = map(torch.from_numpy, (first, offsets, in_order))
    places = Places(rows, time, first % time, offsets, in_order, first, bool(real.all()))
    return tokens.reshape(-1)[first], places, torch.from_numpy(where).view(rows, time)


def states(model: CausalLM, use: Kernels, tokens: Int[Tensor, " N"], places: Places) -> Float[Tensor, "N D"]:
    """The final normalised hidden states of the distinct tokens."""
    a = model.architecture
    h = F.embedding(tokens, model.model.embed_tokens.weight)
    tables = angles(a, torch.arange(places.time), h.dtype)
    layers: Iterable[Layer] = model.model.layers  # type: ignore[assignment]
    for layer in layers:
        at = layer.self_attn
        qkv = stacked(layer.input_layernorm(h), at.q_proj, at.k_proj, at.v_proj).view(len(h), -1, a.head_dim)
        of_q, of_k = getattr(at.q_norm, "weight", None), getattr(at.k_norm, "weight", None)  # an Identity has none
        y = at.attend(*Heads.apply(use, qkv, places, a.heads, of_q, of_k, a.eps, tables))
        h = h + at.o_proj(Take.apply(y.flatten(0, 1), places.first))
        h = h + layer.mlp(layer.post_attention_layernorm(h))
    return model.model.norm(h)
