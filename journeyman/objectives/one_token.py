"""One-token rollouts at every place of a demonstration."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from journeyman.batch import Batch
from journeyman.objectives.common import Reduce, at_least, over_tokens, whole
from journeyman.objectives.reducers import token_mean
from journeyman.protocols import Schedule, Words, needs_of, value, words
from journeyman.scope import seed_of


@dataclass(frozen=True)
class one_token:
    """loss = -reduce(sum over tokens a of share(a) * R(a) * log pi(a)), R(a) = 1 where a is the token that stands there, else beta;
    share (detached) = softmax(logits / kappa), which is the expectation over candidates, or, with ``candidates`` = K, the shares
    of K tokens drawn from it. Advantages are not read.

    OTR, [S176] Ming et al. 2025, arXiv 2509.26313: REINFORCE on answers of one token (K 256; beta -0.1 and kappa 1.3 are
    recalled, not checked). With kappa 1 the expected gradient is (1 - beta) times that of DFT, whatever beta is. Differs from the
    paper in the exact form as the default: drawn candidates that miss the token give it nothing but the push of beta.

    Draws follow from ``seed`` and the lesson's own tokens and attempt, so that passes over one lesson draw alike. Metrics over
    trained tokens: ``nll`` (of the token, nats) and ``label_share`` (its share). Needs ``forward.logits``, a (B, T, V) tensor.
    """

    kappa: float = 1.3
    beta: float | Schedule = -0.1
    candidates: int | None = None
    reduce: Reduce = token_mean
    seed: int = 0
    gives = words()
    skips_zero = False

    def __post_init__(self) -> None:
        if not self.kappa > 0:
            raise ValueError(f"one_token has kappa={self.kappa}, expected a number above 0")
        at_least("one_token", "candidates", self.candidates, 1)

    @property
    def needs(self) -> Words:
        return words("lessons", "forward.logits") | needs_of(self.reduce)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = batch.out["logits"][batch.train]  # (N, V), N trained tokens
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        label = batch.tokens[batch.train][:, None]  # (N, 1)
        share = (logits.detach() / self.kappa).softmax(-1)
        if self.candidates is not None:
            share = self.drawn(share, batch, self.candidates)
        reward = torch.full_like(share, value(self.beta)).scatter_(1, label, 1.0)
        each = logits.log_softmax(-1)
        gain = self.placed((share * reward * each).sum(-1), batch)
        metrics = {"nll": -each.gather(1, label)[:, 0], "label_share": share.gather(1, label)[:, 0]}
        found = {name: over_tokens(self.placed(x, batch), batch) for name, x in metrics.items()}
        return -self.reduce(gain, batch, whole(batch)), found

    def drawn(self, chance: Tensor, batch: Batch, count: int) -> Tensor:
        """Shares (N, V) of ``count`` tokens drawn at each place."""
        rows: list[Tensor] = []
        for lesson, own in zip(batch.lessons, chance.split(batch.train.sum(1).tolist()), strict=True):
            if len(own):
                seed = seed_of("one_token", self.seed, lesson.group, lesson.attempt, lesson.tokens)
                source = torch.Generator(own.device).manual_seed(seed)
                rows.append(torch.multinomial(own, count, replacement=True, generator=source))
        tokens = torch.cat(rows)  # (N, count)
        return torch.zeros_like(chance).scatter_add_(1, tokens, torch.full_like(chance[:, :1], 1 / count).expand_as(tokens))

    @staticmethod
    def placed(each: Tensor, batch: Batch) -> Tensor:
        """Values (N) of trained tokens at their places (B, T), 0 elsewhere."""
        return each.new_zeros(batch.train.shape).masked_scatter(batch.train, each)
