"""Batches made by hand: float64 log-probabilities that gradients are taken to."""

from dataclasses import replace

import torch

from journeyman.batch import Totals, collate
from journeyman.types import Lesson

torch.set_num_threads(1)


def batch_of(logp, advantage, train=None, weight=None, term="rl", totals=None, **streams):
    """A batch whose rows are these lists (ragged); ``logp`` becomes a leaf tensor, returned too."""
    train = train or [[True] * len(r) for r in logp]
    lessons = [
        Lesson(
            tuple(range(len(r))),
            tuple(train[i]),
            tuple(map(float, advantage[i] if isinstance(advantage[i], list) else [advantage[i]] * len(r))),
            term=term,
            weight=1.0 if weight is None else weight[i],
            group=str(i),
            attempt=f"a{i}",
        )
        for i, r in enumerate(logp)
    ]
    batch = collate(lessons, totals or {term: Totals.of(lessons)})
    theta = padded(logp).requires_grad_()
    exact = {"advantage": padded([x.advantage for x in lessons]), "weight": batch.weight.double()}
    return replace(batch, streams={k: padded(v) for k, v in streams.items()}, out={"logp": theta}, **exact), theta


def padded(rows):
    full = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.float64)
    for i, r in enumerate(rows):
        full[i, : len(r)] = torch.tensor(r, dtype=torch.float64)
    return full


def coefficients(objective, batch, theta):
    """What multiplies grad logp in the ascent direction: minus the gradient of the loss (B, T)."""
    (grad,) = torch.autograd.grad(objective(batch)[0], theta)
    return -grad
