"""Log-probabilities, entropies and hidden states of given tokens, with gradients, without a (B, T, V) tensor; and that tensor for
objectives that need whole distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from journeyman.batch import Batch
from journeyman.policies.compiled import log_prob
from journeyman.protocols import Words, words

GIVES = words("tokens", "forward.logp", "forward.entropy", "forward.hidden", "forward.logits")
_LOGITS = 1 << 24  # logits made at a time


def wanted(want: Words) -> frozenset[str]:
    """Words wanted of a forward, without their prefix; ValueError names what this policy does not give."""
    short = frozenset(w.removeprefix("forward.") for w in want)
    if unknown := sorted(short - {"logp", "entropy", "hidden", "logits"}):
        raise ValueError(f"forward cannot give {', '.join(unknown)}; this policy gives logp, entropy, hidden and logits")
    return short


Read = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""tokens (B, T), train (B, T), lengths (B) -> hidden states (N, D), and which of them stands at each place (B, T)."""


def row_by_row(hidden: Callable[[Tensor], Tensor]) -> Read:
    """A model that goes over all places of (B, T) -> (B, T, D)."""

    def read(tokens: Tensor, train: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return hidden(tokens).flatten(0, 1), torch.arange(tokens.numel(), device=tokens.device).view(tokens.shape)

    return read


def score(
    states: Float[Tensor, "N D"],
    where: Int[Tensor, "B T"],
    head: Callable[[Tensor], Tensor],
    vocab: int,
    tokens: Int[Tensor, "B T"],
    at: Bool[Tensor, "B T"],
    temperature: Float[Tensor, " B"],
    entropy: bool,
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """logp[b, t] = log softmax(head(states[where[b, t - 1]]) / temperature[b])[tokens[b, t]] and the entropy of that
    distribution (nats), where ``at`` is true and t > 0; zero elsewhere. A temperature of 0 (greedy) counts as 1, as in a Trace.

    Logits are made ``_LOGITS`` at a time. Where there is more than one such part and gradients are wanted, the logits of
    a part are made again in the backward pass instead of kept."""
    logp = states.new_zeros(tokens.shape, dtype=torch.float32)
    spread = torch.zeros_like(logp)
    row, time = at[:, 1:].nonzero(as_tuple=True)
    if not len(row):
        return logp + 0 * states.sum(), spread + 0 * states.sum()  # zero, and still joined to the weights
    warm = torch.where(temperature > 0, temperature, 1.0)

    def part(index: Tensor, target: Tensor, heat: Tensor) -> tuple[Tensor, Tensor]:
        return log_prob(head(states[index]).float(), target, heat, entropy)

    parts = [x.split(max(1, _LOGITS // vocab)) for x in (where[row, time], tokens[row, time + 1], warm[row])]
    again = len(parts[0]) > 1 and torch.is_grad_enabled()
    found = [checkpoint(part, *x, use_reentrant=False) if again else part(*x) for x in zip(*parts, strict=True)]
    places = (row, time + 1)
    logp = logp.index_put(places, torch.cat([x for x, _ in found]))
    return logp, spread.index_put(places, torch.cat([x for _, x in found])) if entropy else spread


def distributions(
    states: Float[Tensor, "N D"],
    where: Int[Tensor, "B T"],
    head: Callable[[Tensor], Tensor],
    at: Bool[Tensor, "B T"],
    temperature: Float[Tensor, " B"],
) -> Float[Tensor, "B T V"]:
    """logits[b, t] = head(states[where[b, t - 1]]) / temperature[b], in float32: those of which ``score`` takes the log-softmax, so
    logp[b, t] = log softmax(logits[b, t])[tokens[b, t]] where ``at`` is true and t > 0; zero elsewhere."""
    row, time = at[:, 1:].nonzero(as_tuple=True)
    warm = torch.where(temperature > 0, temperature, 1.0)
    made = head(states[where[row, time]]).float() / warm[row, None]  # (trained tokens, V)
    logits = made.new_zeros(*at.shape, made.shape[-1])
    logits[row, time + 1] = made
    return logits


def forward(read: Read, head: Callable[[Tensor], Tensor], vocab: int, batch: Batch, want: Words, rows: int) -> dict[str, Tensor]:
    """The outputs wanted, ``rows`` rows at a time. Chunks are as wide as their longest row only.

    ``logits`` is a whole (B, T, V) tensor, kept for the backward pass: for small vocabularies, or a learner with few
    ``micro_tokens`` (16,384 tokens of a vocabulary of 150,000 are 10 GB)."""
    short, out = wanted(want), {"logp": [], "entropy": [], "hidden": [], "logits": []}
    full = batch.tokens.shape[1]
    for lo in range(0, len(batch.tokens), rows):
        part = slice(lo, lo + rows)
        width = int(batch.lengths[part].max())
        tokens, train = batch.tokens[part, :width], batch.train[part, :width]
        states, where = read(tokens, train, batch.lengths[part])
        if short & {"logp", "entropy"}:
            logp, entropy = score(states, where, head, vocab, tokens, train, batch.temperature[part], "entropy" in short)
            out["logp"].append(F.pad(logp, (0, full - width)))
            out["entropy"].append(F.pad(entropy, (0, full - width)))
        if "logits" in short:
            logits = distributions(states, where, head, train, batch.temperature[part])
            out["logits"].append(F.pad(logits, (0, 0, 0, full - width)))
        if "hidden" in short:
            out["hidden"].append(F.pad(states[where], (0, 0, 0, full - width)))
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
        states, where = row_by_row(hidden)(padded, at, lengths)
        logp, _ = score(states, where, head, vocab, padded, at, torch.ones(take, device=device), entropy=False)
        for index, row in zip(part, logp.tolist(), strict=True):
            results[index] = tuple(row[: len(sequences[index])])
    return [results[i] for i in range(len(sequences))]
