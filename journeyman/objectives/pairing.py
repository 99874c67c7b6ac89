"""What preference objectives share: which rows of a batch belong together, and the loss over pairs.

A pair is two lessons with one ``group`` and ``pair``: the preferred one has a positive advantage, the rejected one a
negative one (see ``credit.pairs``). The learner keeps them in one micro-batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from journeyman.batch import Batch
from journeyman.objectives.common import whole


def together(batch: Batch) -> dict[tuple[str, str], list[int]]:
    """Rows by (group, pair), in order of appearance; ValueError names a lesson that has no pair id."""
    found: dict[tuple[str, str], list[int]] = {}
    for i, x in enumerate(batch.lessons):
        if x.pair is None:
            raise ValueError(
                f"lesson {x.attempt!r} has no pair id, which a preference objective needs; write a credit that joins lessons, "
                "such as pairs() or labelled()"
            )
        found.setdefault((x.group, x.pair), []).append(i)
    return found


def pairs_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Rows (P) of the preferred and rows (P) of the rejected lessons."""
    chosen, rejected = [], []
    for (_, pair), rows in together(batch).items():
        best = [i for i in rows if sum(batch.lessons[i].advantage) > 0]
        worst = [i for i in rows if sum(batch.lessons[i].advantage) < 0]
        if (len(rows), len(best), len(worst)) != (2, 1, 1):
            raise ValueError(
                f"pair {pair!r} has {len(rows)} lessons in its micro-batch, {len(best)} of positive and {len(worst)} of negative "
                "advantage; expected one of each; write pairs() as the credit, and replay_share=0 (replay draws lessons singly)"
            )
        chosen, rejected = chosen + best, rejected + worst
    device = batch.tokens.device
    return torch.tensor(chosen, device=device), torch.tensor(rejected, device=device)


def logistic(margin: Tensor, smoothing: Tensor | float) -> Tensor:
    """-(1 - smoothing) log sigmoid(margin) - smoothing log sigmoid(-margin)."""
    return (1 - smoothing) * softplus(-margin) + smoothing * softplus(margin)


def mean_over_pairs(per_pair: Tensor, chosen: Tensor, batch: Batch) -> Tensor:
    """This micro-batch's share of the mean over the whole step's pairs; a pair has the weight of its preferred lesson."""
    return (per_pair * batch.weight[chosen]).sum() / max(whole(batch).sequences / 2, 1.0)


def report(margin: Tensor, chosen_logp: Tensor) -> dict[str, Tensor]:
    """``margin``, ``pair_accuracy`` (share with a positive margin) and ``chosen_logp``, as [sum over pairs, pairs]."""
    values = {"margin": margin, "pair_accuracy": (margin > 0).double(), "chosen_logp": chosen_logp}
    count = torch.tensor(float(len(margin)), dtype=torch.float64, device=margin.device)
    return {k: torch.stack([v.detach().double().sum(), count]) for k, v in values.items()}
