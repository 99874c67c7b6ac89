"""A policy of a few numbers: the next token's logits are a table lookup of the last one and a linear map."""

from __future__ import annotations

import copy

import torch

from journeyman.protocols import words
from journeyman.types import Lesson

torch.set_num_threads(1)
VOCAB = 7


class Tiny(torch.nn.Module):
    """Implements what a learner uses of ``Trainable``. ``forwards`` and ``rows`` count what went through, ``stats`` lists
    what ``after_step`` was told."""

    name = "policy"
    needs = words()
    gives = words("tokens", "forward.logp", "forward.entropy")

    def __init__(self, seed=0, dtype=torch.float64, vocab=VOCAB, width=5):
        super().__init__()
        self.table = torch.nn.Embedding(vocab, width)
        self.head = torch.nn.Linear(width, vocab)
        generator = torch.Generator().manual_seed(seed)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(dtype)
        self.version, self.forwards, self.rows, self.stats = 0, 0, 0, []

    def forward(self, batch, want):
        self.forwards += 1
        self.rows += len(batch.tokens)
        logits = self.head(self.table(batch.tokens[:, :-1])) / batch.temperature[:, None, None].to(self.head.weight.dtype)
        each = logits.log_softmax(-1)
        logp = each.gather(2, batch.tokens[:, 1:, None])[:, :, 0]
        out = {"logp": logp, "entropy": -(each.exp() * each).sum(-1)}
        return {k: torch.nn.functional.pad(v, (1, 0)) for k, v in out.items() if f"forward.{k}" in want}

    def trained(self):
        return [(n, p) for n, p in self.named_parameters() if p.requires_grad]

    def frozen(self):
        other = copy.deepcopy(self)
        other.requires_grad_(False)
        return other

    def weights(self):
        return {n: p.detach() for n, p in self.trained()}

    def load_weights(self, weights, version):
        with torch.no_grad():
            for n, p in self.trained():
                p.copy_(weights[n])
        self.version = version

    def after_step(self, stats):
        self.version += 1
        self.stats.append(dict(stats))


def random_lessons(n=6, seed=0, term="rl", siblings=2, zero=(), longest=9, behaviour=True, vocab=VOCAB):
    """Lessons of random tokens, masks and advantages; those whose number is in ``zero`` have advantage 0."""
    g = torch.Generator().manual_seed(seed)
    found = []
    for i in range(n):
        length = int(torch.randint(3, longest + 1, (), generator=g))
        tokens = tuple(torch.randint(0, vocab, (length,), generator=g).tolist())
        train = (False, *(bool(x) for x in (torch.rand(length - 2, generator=g) < 0.6).tolist()), True)
        a = 0.0 if i in zero else float(torch.randn((), generator=g))
        logp = tuple(float(x) for x in -3 * torch.rand(length, generator=g))
        found.append(
            Lesson(
                tokens,
                train,
                tuple(a if t else 0.0 for t in train),
                term=term,
                behaviour_logp=logp if behaviour else None,
                weight=1.0 + i % 2,
                temperature=1.0 if i % 3 else 0.7,
                group=f"g{seed}/{i // siblings}",
                attempt=f"g{seed}/{i // siblings}/{i % siblings}",
            )
        )
    return found
