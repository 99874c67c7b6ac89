"""Pairs made by hand or at random: what the tests of preference objectives share."""

from dataclasses import replace

import torch

from journeyman.batch import collate
from journeyman.learners.packing import totals_of
from journeyman.objectives import chosen_nll, dpo, ipo, kto, nash, orpo, plus, simpo, step_dpo
from journeyman.types import Lesson
from tests.objectives.batches import padded

PAIRED = {
    "dpo": dpo(smoothing=0.1, reference="old_logp"),
    "step_dpo": step_dpo(),
    "ipo": ipo(),
    "simpo": simpo(),
    "orpo": orpo(),
    "chosen_nll": chosen_nll(),
}
PARTS = PAIRED | {"kto": kto(), "nash": nash()}
JOINED = PARTS | {"rpo": plus(dpo(reference="old_logp"), chosen_nll())}


def pair_batch(chosen, rejected, **streams):
    """One pair whose rows have these sums of logp at one trained token each; streams likewise. Returns batch and leaf."""
    lessons = [Lesson((0,), (True,), (a,), pair="p", group="g", attempt=str(a)) for a in (1.0, -1.0)]
    batch = collate(lessons, totals_of(lessons))
    theta = torch.tensor([[chosen], [rejected]], dtype=torch.float64, requires_grad=True)
    exact = {k: torch.tensor([[a], [b]], dtype=torch.float64) for k, (a, b) in streams.items()}
    return replace(batch, streams=exact, out={"logp": theta}, weight=batch.weight.double()), theta


def random_pairs(n=4, seed=0):
    """2n lessons in n pairs, two pairs a group; every stream, random masks, weights 1 and 2."""
    g = torch.Generator().manual_seed(seed)
    found = []
    for i in range(n):
        doubt = float(torch.rand((), generator=g) / 2)
        for sign in (1.0, -1.0):
            length = int(torch.randint(3, 9, (), generator=g))
            train = (False, *(bool(x) for x in torch.rand(length - 2, generator=g) < 0.6), True)

            def near(length=length):
                return tuple((-3 * torch.rand(length, generator=g)).tolist())

            found.append(
                Lesson(
                    tuple(range(length)), train, tuple(sign if t else 0.0 for t in train), behaviour_logp=near(), old_logp=near(),
                    streams={"ref_logp": near(), "smoothing": (doubt,) * length}, weight=1.0 + i % 2, pair=f"p{i}",
                    group=f"g{i // 2}", attempt=f"{i}/{sign}",
                )
            )  # fmt: skip
    return found


def exact_batch(lessons, seed=0, totals=None):
    """The lessons as a batch in float64 with leaf log-probabilities, the same for a lesson whatever it is batched with."""
    rows = []
    for x in lessons:
        g = torch.Generator().manual_seed(seed * 1000 + sum(map(ord, x.attempt)))
        rows.append((-3 * torch.rand(len(x.tokens), generator=g, dtype=torch.float64)).tolist())
    theta = padded(rows).requires_grad_()
    batch = collate(lessons, totals or totals_of(lessons))
    streams = {"behaviour_logp": [x.behaviour_logp for x in lessons], "old_logp": [x.old_logp for x in lessons]}
    streams |= {k: [x.streams[k] for x in lessons] for k in lessons[0].streams}
    exact = {"advantage": padded([x.advantage for x in lessons]), "weight": batch.weight.double()}
    return replace(batch, streams={k: padded(v) for k, v in streams.items()}, out={"logp": theta}, **exact), theta
