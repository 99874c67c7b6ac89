"""Log-probabilities, entropies and hidden states of given tokens, with gradients, without a (B, T, V) tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from journeyman.batch import Batch
from journeyman.protocols import Words, words

GIVES = words("tokens", "forward.logp", "forward.entropy", "forward.hidden")
_LOGITS = 1 << 24  # logits made at a time


def wanted(want: Words) -> frozenset[str]:
    """Words wanted of a forward, without their prefix; ValueError names what this policy does not give."""
    short = frozenset(w.removeprefix("forward.") for w in want)
    if unknown := sorted(short - {"logp", "entropy", "hidden"}):
        raise ValueError(f"forward cannot give {', '.join(unknown)}; this policy gives logp, entropy and hidden")
    return short


def score(
    hidden: Float[Tensor, "B T D"],
    head: Callable[[Tensor], Tensor],
    vocab: int,
    tokens: Int[Tensor, "B T"],
    at: Bool[Tensor, "B T"],
    temperature: Float[Tensor, " B"],
    entropy: bool,
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """logp[b, t] = log softmax(head(hidden[b, t - 1]) / temperature[b])[tokens[b, t]] and the entropy of that distribution
    (nats), where ``at`` is true and t > 0; zero elsewhere. A temperature of 0 (greedy) counts as 1, as in a Trace."""
    logp = hidden.new_zeros(tokens.shape, dtype=torch.float32)
    spread = torch.zeros_like(logp)
    row, time = at[:, 1:].nonzero(as_tuple=True)
    if not len(row):
        return logp + 0 * hidden.sum(), spread + 0 * hidden.sum()  # zero, and still joined to the weights
    warm = torch.where(temperature > 0, temperature, 1.0)
    found, spreads = [], []
    for r, t in zip(*(x.split(max(1, _LOGITS // vocab)) for x in (row, time)), strict=True):
        logits = head(hidden[r, t]).float() / warm[r, None]  # (N, V)
        each = torch.log_softmax(logits, dim=-1)
        found.append(each.gather(1, tokens[r, t + 1][:, None])[:, 0])
        if entropy:
            spreads.append(-(each.exp() * each).sum(-1))
    where = (row, time + 1)
    logp = logp.index_put(where, torch.cat(found))
    return logp, spread.index_put(where, torch.cat(spreads)) if entropy else spread


def forward(
    hidden: Callable[[Tensor], Tensor], head: Callable[[Tensor], Tensor], vocab: int, batch: Batch, want: Words, rows: int
) -> dict[str, Tensor]:
    """The outputs wanted, ``rows`` rows at a time. Chunks are as wide as their longest row only."""
    short, out = wanted(want), {"logp": [], "entropy": [], "hidden": []}
    full = batch.tokens.shape[1]
    for lo in range(0, len(batch.tokens), rows):
        part = slice(lo, lo + rows)
        width = int(batch.lengths[part].max())
        h = hidden(batch.tokens[part, :width])
        logp, entropy = score(
            h, head, vocab, batch.tokens[part, :width], batch.train[part, :width], batch.temperature[part], "entropy" in short
        )
        out["logp"].append(F.pad(logp, (0, full - width)))
        out["entropy"].append(F.pad(entropy, (0, full - width)))
        if "hidden" in short:
            out["hidden"].append(F.pad(h, (0, 0, 0, full - width)))
    return {name: torch.cat(parts) for name, parts in out.items() if name in short}


@torch.no_grad()
def score_sequences(
    hidden: Callable[[Tensor], Tensor],
    head: Callable[[Tensor], Tensor],
    vocab: int,
    device: torch.device,
    sequences: Sequence[tuple[int, ...]],
    tokens_at_a_time: int = 16384,
) -> list[tuple[float, ...]]:
    """Log-probabilities (L) at temperature 1 of every token of each sequence but the first, which counts 0."""
    results: dict[int, tuple[float, ...]] = {}
    todo = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    while todo:
        longest = max(1, len(sequences[todo[-1]]))
        take = max(1, min(len(todo), tokens_at_a_time // longest))
        todo, part = todo[:-take], todo[-take:]
        padded = torch.zeros(take, longest, dtype=torch.long)
        for i, index in enumerate(part):
            padded[i, : len(sequences[index])] = torch.tensor(sequences[index], dtype=torch.long)
        lengths = torch.tensor([len(sequences[i]) for i in part])
        at = torch.arange(longest)[None] < lengths[:, None]
        padded, at = padded.to(device), at.to(device)
        logp, _ = score(hidden(padded), head, vocab, padded, at, torch.ones(take, device=device), entropy=False)
        for index, row in zip(part, logp.tolist(), strict=True):
            results[index] = tuple(row[: len(sequences[index])])
    return [results[i] for i in range(len(sequences))]
