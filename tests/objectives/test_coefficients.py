"""The coefficient test: autograd of each paper's loss, written out as the paper has it, equals the gradient of ours."""

import pytest
import torch

from journeyman.objectives import (
    cap,
    fixed_length,
    kl_penalty,
    nll,
    no_clip,
    on_policy,
    over_behaviour,
    over_old,
    plus,
    ppo_clip,
    probability,
    sequence_mean,
    sequence_ratio,
    sequence_sum,
    surrogate,
    token_mean,
    truncated,
)  # fmt: skip
from tests.objectives.batches import batch_of

LENGTHS = (4, 7, 2, 5)


class Drawn:
    """Random log-probabilities with ratios of about 0.5 to 2, random masks, one advantage a row."""

    def __init__(self, seed):
        g = torch.Generator().manual_seed(seed)

        def rows(scale):
            return [(scale * torch.rand(n, generator=g, dtype=torch.float64)).tolist() for n in LENGTHS]

        logp = [[-0.1 - x for x in r] for r in rows(3)]

        def near(spread):
            return [[x + spread * (2 * d - 1) for x, d in zip(a, b, strict=True)] for a, b in zip(logp, rows(1), strict=True)]

        self.advantage = torch.randn(len(LENGTHS), generator=g, dtype=torch.float64)
        train = [[bool(x > 0.3) for x in r[:-1]] + [True] for r in rows(1)]
        self.batch, self.theta = batch_of(
            logp, self.advantage.tolist(), train, old_logp=near(0.7), behaviour_logp=near(0.7), ref_logp=near(0.7)
        )

    def mean_of(self, per_row):
        return torch.stack([per_row(i) for i in range(len(LENGTHS))]).mean()

    def row(self, i):
        """logp, old, behaviour and reference of the trained tokens of row i, and its advantage."""
        at, s = self.batch.train[i], self.batch.streams
        return self.theta[i][at], s["old_logp"][i][at], s["behaviour_logp"][i][at], s["ref_logp"][i][at], self.advantage[i]


def ppo(ratio, a, low=0.2, high=0.2, dual=None):
    """-min(ratio A, clip(ratio) A), and its maximum with dual * A below zero, token by token (minus the objective)."""
    gain = torch.minimum(ratio * a, ratio.clamp(1 - low, 1 + high) * a)
    if dual is not None and a < 0:
        gain = torch.maximum(gain, dual * a)
    return -gain


def reinforce(d):
    rows = [d.row(i) for i in range(4)]
    return torch.cat([-a * lp for lp, *_, a in rows]).mean()


def ppo_tokens(d, **settings):
    rows = [d.row(i) for i in range(4)]
    return torch.cat([ppo((lp - old).exp(), a, **settings) for lp, old, _, _, a in rows]).mean()


def grpo(d):
    def one(i):
        lp, old, _, ref, a = d.row(i)
        k3 = (ref - lp).exp() - (ref - lp) - 1
        return (ppo((lp - old).exp(), a) + 0.04 * k3).mean()

    return d.mean_of(one)


def dr_grpo(d):
    return sum(ppo((lp - old).exp(), a).sum() for lp, old, _, _, a in map(d.row, range(4))) / (4 * 16)


def rloo(d):
    return d.mean_of(lambda i: -d.row(i)[4] * d.row(i)[0].sum())


def gspo(d):
    def one(i):
        lp, old, _, _, a = d.row(i)
        return ppo((lp - old).mean().exp(), a, 0.1, 0.15)

    return d.mean_of(one)


def cispo(d):
    rows = [d.row(i) for i in range(4)]
    return torch.cat([-(lp - old).exp().clamp(max=1.28).detach() * a * lp for lp, old, _, _, a in rows]).mean()


def dft(d):
    return torch.cat([-a * lp.exp().detach() * lp for lp, *_, a in map(d.row, range(4))]).mean()


def sft(d):
    return torch.cat([-d.row(i)[0] for i in range(4)]).mean()


def truncated_ppo(d):
    rows = [d.row(i) for i in range(4)]
    return torch.cat([(old - mu).exp().clamp(max=1.3) * ppo((lp - old).exp(), a) for lp, old, mu, _, a in rows]).mean()


def off_policy(d):
    """Importance-weighted REINFORCE: the gradient of E_mu[(pi / mu) A]."""
    return torch.cat([-(lp - mu).exp() * a for lp, _, mu, _, a in map(d.row, range(4))]).mean()


PAPERS = {
    "REINFORCE": (reinforce, surrogate()),
    "PPO": (ppo_tokens, surrogate(ppo_clip(), over_old)),
    "dual clip": (lambda d: ppo_tokens(d, dual=1.3), surrogate(ppo_clip(dual=1.3), over_old)),
    "DAPO": (lambda d: ppo_tokens(d, high=0.28), surrogate(ppo_clip(0.2, 0.28), over_old, token_mean)),
    "GRPO": (grpo, plus(surrogate(ppo_clip(), over_old, sequence_mean), kl_penalty(0.04, reduce=sequence_mean))),
    "Dr. GRPO": (dr_grpo, surrogate(ppo_clip(), over_old, fixed_length(16))),
    "RLOO": (rloo, surrogate(no_clip, on_policy, sequence_sum)),
    "GSPO": (gspo, surrogate(ppo_clip(0.1, 0.15), sequence_ratio(), sequence_mean)),
    "CISPO": (cispo, surrogate(cap(1.28), over_old)),
    "DFT": (dft, surrogate(no_clip, probability)),
    "SFT": (sft, nll()),
    "truncated": (truncated_ppo, surrogate(ppo_clip(), over_old, correction=truncated(1.3))),
    "off policy": (off_policy, surrogate(no_clip, over_behaviour)),
}


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("seed", range(5))
def test_gradient_is_that_of_the_papers_loss(name, seed):
    literal, ours = PAPERS[name]
    d = Drawn(seed)
    (expected,) = torch.autograd.grad(literal(d), d.theta)
    (found,) = torch.autograd.grad(ours(d.batch)[0], d.theta)
    assert expected.abs().max() > 1e-3, "the example must have a gradient"
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_the_examples_clip_some_tokens_and_not_all():
    for name in ("PPO", "dual clip", "DAPO", "GRPO", "GSPO", "CISPO"):
        found = [PAPERS[name][1](Drawn(s).batch)[1]["clip_fraction"] for s in range(5)]
        clipped, tokens = torch.stack(found).sum(0)
        assert 0 < clipped < tokens, name
