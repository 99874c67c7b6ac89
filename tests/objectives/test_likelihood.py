"""SAPO, NFT, LUFFY, HisPO, KL-Cov, HAPO: the cards' numbers, the papers' own losses, and what every objective promises."""

import math
from dataclasses import replace

import pytest
import torch

from journeyman.batch import collate
from journeyman.learners.packing import micro_batches, totals_of
from journeyman.objectives import (
    agreement,
    demonstrated,
    drift_penalty,
    entropy_clip,
    fixed_length,
    implicit_negative,
    no_clip,
    over_behaviour,
    over_old,
    plus,
    ppo_clip,
    sequence_mean,
    soft_gate,
    surrogate,
)  # fmt: skip
from tests.contract.test_objectives import Table
from tests.contract.test_objectives import lessons as contract_lessons
from tests.objectives.batches import batch_of, coefficients
from tests.objectives.test_coefficients import Drawn, ppo

SAPO = surrogate(soft_gate(), over_old, sequence_mean)
NFT = surrogate(implicit_negative(), over_old, fixed_length(16))
LUFFY = surrogate(no_clip, demonstrated(), fixed_length(16))
HISPO = surrogate(ppo_clip(0.3, 0.2, dual=1.5), over_behaviour, fixed_length(16), agreement(0.4, 0.5))
KL_COV = plus(surrogate(no_clip, over_old), drift_penalty(0.7))
HAPO = surrogate(no_clip, over_old, correction=entropy_clip(dual=1.4))
STREAMS = ("off_policy", "restrained", "heat")


def made(seed):
    """A drawn batch whose tokens also have heat, and of which some are off policy or restrained."""
    d, g = Drawn(seed), torch.Generator().manual_seed(seed)
    shape = d.batch.tokens.shape
    extra = {
        "off_policy": torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)[:, None].expand(shape),
        "restrained": (torch.rand(shape, generator=g) < 0.4).double(),
        "heat": 2 * torch.rand(shape, generator=g, dtype=torch.float64) - 1,
    }
    d.batch = replace(d.batch, streams={**d.batch.streams, **extra})
    return d


def more(d, i):
    return [d.batch.streams[name][i][d.batch.train[i]] for name in STREAMS]


def sapo(d):
    def one(i):
        lp, old, _, _, a = d.row(i)
        tau = 1.0 if a > 0 else 1.05
        return -(torch.sigmoid(tau * ((lp - old).exp() - 1)) * 4 / tau * a).mean()

    return d.mean_of(one)


def nft(d, floor=1.0):
    """One group: row 0 is right, the others are wrong, so r = 0.25 and w = 0.75."""
    r, w, total = 0.25, 0.75, 0.0
    d.batch = replace(d.batch, advantage=torch.tensor([[0.75], [-0.25], [-0.25], [-0.25]]).double().expand_as(d.batch.advantage))
    for i in range(4):
        lp, old, *_ = d.row(i)
        ratio = (lp - old).exp()
        x = (1 - r * ratio) / (1 - r)
        straight_through = x + (x.clamp(min=floor) - x).detach()
        total = total - w * (ratio.log() if i == 0 else straight_through.log()).sum()
    return total / (4 * 16)


def luffy(d):
    total = 0.0
    for i in range(4):
        lp, old, _, _, a = d.row(i)
        p = lp.exp()
        total = total - a * (p / (p + 0.1) if i % 2 else (lp - old).exp()).sum()
    return total / (4 * 16)


def hispo(d):
    total = 0.0
    for i in range(4):
        lp, old, mu, _, a = d.row(i)
        dis = (old - mu).exp()
        mask = ((dis.log().mean().exp() - 1).abs() < 0.4) & ((dis - 1).abs() < 0.5)
        total = total + (mask * ppo((lp - mu).exp(), a, 0.3, 0.2, dual=1.5)).sum()
    return total / (4 * 16)


def kl_cov(d):
    found = [(*d.row(i), more(d, i)[1]) for i in range(4)]
    return torch.cat([-(lp - old).exp() * a + 0.7 * mark * (lp - old).abs() for lp, old, _, _, a, mark in found]).mean()


def hapo(d):
    tokens = []
    for i in range(4):
        lp, old, _, _, a = d.row(i)
        for x, b, h in zip(lp, old, more(d, i)[2], strict=True):
            ratio = (x - b).exp()
            inside = 0.9 < ratio.item() < 1.1
            moved = a * (1 + h) if inside == (h.item() <= 0) else a
            low, high = (0.2, 0.2 * (1 + h)) if h > 0 else (0.2 * (1 - h), 0.2)
            tokens.append(ppo(ratio, moved, low, high, dual=1.4))
    return torch.stack(tokens).mean()


PAPERS = {
    "SAPO": (sapo, SAPO),
    "NFT": (nft, NFT),
    "NFT, floor 0.9": (lambda d: nft(d, 0.9), surrogate(implicit_negative(0.9), over_old, fixed_length(16))),
    "LUFFY": (luffy, LUFFY),
    "HisPO": (hispo, HISPO),
    "KL-Cov": (kl_cov, KL_COV),
    "HAPO": (hapo, HAPO),
}


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("seed", range(5))
def test_gradient_is_that_of_the_papers_loss(name, seed):
    literal, ours = PAPERS[name]
    d = made(seed)
    (expected,) = torch.autograd.grad(literal(d), d.theta)
    (found,) = torch.autograd.grad(ours(d.batch)[0], d.theta)
    assert expected.abs().max() > 1e-3, "the example must have a gradient"
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------------------- cards


def one_token(ratio, advantage):
    return batch_of([[-1.0]], [advantage], old_logp=[[-1.0 - math.log(ratio)]])


@pytest.mark.parametrize(("ratio", "advantage", "tau"), [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (2.0, -1.0, 1.05), (0.5, -1.0, 1.05)])
def test_the_soft_gate_is_a_squared_secant(ratio, advantage, tau):
    """4 s (1 - s) = sech^2(tau (ratio - 1) / 2), a form that the code does not use."""
    expected = ratio * advantage / math.cosh(tau * (ratio - 1) / 2) ** 2
    assert coefficients(SAPO, *one_token(ratio, advantage)).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [(1.1, 0.75, 0.75), (1.0, -0.25, -0.25), (1.1, -0.25, -0.275), (0.5, -0.25, -0.10714), (3.9, -0.25, -0.975)],
)
def test_nft_card(ratio, advantage, expected):
    got = coefficients(surrogate(implicit_negative(), over_old), *one_token(ratio, advantage)).item()
    assert got == pytest.approx(expected, abs=1e-5)


def test_nft_clamps_the_rate():
    """A wrong answer in a group that is nearly all right: r is taken as 0.98, not 0.999."""
    got = coefficients(surrogate(implicit_negative(1e-3), over_old), *one_token(0.9, -0.999)).item()
    assert got == pytest.approx(-0.999 * 0.9 * 0.02 / (1 - 0.98 * 0.9), rel=1e-6)


@pytest.mark.parametrize(("p", "advantage", "expected"), [(0.1, 1, 0.25), (0.5, 1, 0.1389), (0.9, 1, 0.09), (0.05, 0.875, 0.1944)])
def test_luffy_and_critique_grpo_cards(p, advantage, expected):
    batch, theta = batch_of([[math.log(p)]], [advantage], old_logp=[[-3.0]], off_policy=[[1.0]])
    assert coefficients(surrogate(no_clip, demonstrated()), batch, theta).item() == pytest.approx(expected, abs=1e-4)


def test_an_own_token_keeps_its_ratio():
    batch, theta = batch_of([[-1.0]], [1.0], old_logp=[[-1.0 - math.log(1.5)]], off_policy=[[0.0]])
    assert coefficients(surrogate(no_clip, demonstrated()), batch, theta).item() == pytest.approx(1.5)
    assert demonstrated(on=over_behaviour).needs == {"off_policy", "behaviour_logp"}


@pytest.mark.parametrize(("last", "kept"), [(1.5, [1, 1, 0]), (3.0, [0, 0, 0])])
def test_hispo_card(last, kept):
    old = [[math.log(r) - 1 for r in (1.02, 0.98, last)]]
    batch, _ = batch_of([[-1.0] * 3], [1.0], old_logp=old, behaviour_logp=[[-1.0] * 3])
    assert agreement(0.2, 0.3)(batch)[0].tolist() == kept


@pytest.mark.parametrize(("heat", "inside", "outside"), [(0.5, (0.81, 1.29), (0.79, 1.31)), (-0.5, (0.71, 1.19), (0.69, 1.21))])
def test_hapo_clip_card(heat, inside, outside):
    part = entropy_clip(beta=0.0)
    for advantage, which in ((-1.0, 0), (1.0, 1)):
        for ratio, expected in ((inside[which], 1.0), (outside[which], 0.0)):
            batch, _ = one_token(ratio, advantage)
            batch = replace(batch, streams={**batch.streams, "heat": torch.full((1, 1), heat)})
            assert part(batch).item() == expected


def test_kl_cov_holds_only_what_is_marked():
    batch, theta = batch_of([[-1.0, -1.0]], [0.0], old_logp=[[-1.5, -1.5]], restrained=[[1.0, 0.0]])
    loss, metrics = drift_penalty(1.0)(batch)
    assert loss.item() == pytest.approx(0.25)
    assert metrics["restrained"].tolist() == [1, 2]
    assert coefficients(drift_penalty(1.0), batch, theta)[0].tolist() == [-0.5, 0]
    same, theta = batch_of([[-1.0]], [0.0], old_logp=[[-1.0]], restrained=[[1.0]])
    assert coefficients(drift_penalty(1.0), same, theta).item() == 0, "on policy there is no pull"


# ---------------------------------------------------------------------------------------- equivalences


def same_gradient(ours, other, **streams):
    d = made(3)
    d.batch = replace(d.batch, streams={**d.batch.streams, **{k: v(d) for k, v in streams.items()}})
    found = [torch.autograd.grad(x(d.batch)[0], d.theta)[0] for x in (ours, other)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


def test_on_policy_sapo_and_nft_are_grpo_and_dr_grpo():
    at_theta = {"old_logp": lambda d: d.theta.detach()}
    same_gradient(SAPO, surrogate(ppo_clip(), over_old, sequence_mean), **at_theta)
    same_gradient(NFT, surrogate(ppo_clip(), over_old, fixed_length(16)), **at_theta)


def test_hispo_between_equal_engines_is_fixed_length_grpo():
    clip = ppo_clip(0.3, 0.2, dual=1.5)
    one_engine = {"behaviour_logp": lambda d: d.batch.streams["old_logp"]}
    same_gradient(HISPO, surrogate(clip, over_old, fixed_length(16)), **one_engine)


def test_hapo_without_its_terms_is_dapo():
    same_gradient(
        surrogate(no_clip, over_old, correction=entropy_clip(high=0.28, alpha=0, beta=0, dual=1.4)),
        surrogate(ppo_clip(0.2, 0.28, dual=1.4), over_old),
    )


# ---------------------------------------------------------------------------------------- promises

WIDE = surrogate(
    ppo_clip(0.2, 0.28, dual=3.0), over_behaviour, fixed_length(16), agreement(5.0, 20.0)
)  # drawn values are far apart
OBJECTIVES = {"SAPO": SAPO, "NFT": NFT, "LUFFY": LUFFY, "HisPO": WIDE, "KL-Cov": KL_COV, "HAPO": HAPO, "drift": drift_penalty()}
every = pytest.mark.parametrize("name", OBJECTIVES)


def lessons():
    """The contract's lessons with the streams of these methods."""
    g = torch.Generator().manual_seed(5)

    def rich(x):
        n = len(x.tokens)
        heat, mark = (2 * torch.rand(n, generator=g) - 1).tolist(), (torch.rand(n, generator=g) < 0.5).float().tolist()
        off = float(torch.rand((), generator=g) < 0.3)
        return replace(x, streams={**x.streams, "heat": tuple(heat), "restrained": tuple(mark), "off_policy": (off,) * n})

    return [rich(x) for x in contract_lessons()]


@every
def test_it_needs_what_it_reads(name):
    objective, some = OBJECTIVES[name], lessons()
    batch = Table(some).out(collate(some, totals_of(some)))
    declared = batch.streams.keys() & objective.needs
    objective(replace(batch, streams={k: batch.streams[k] for k in declared}))
    for word in declared:
        with pytest.raises(ValueError, match=word):
            objective(replace(batch, streams={k: v for k, v in batch.streams.items() if k != word}))


@every
def test_untrained_tokens_have_no_gradient_and_reach_nothing(name):
    some = lessons()
    batch = Table(some).out(collate(some, totals_of(some)))

    def spoil(tensor):
        return torch.where(batch.train, tensor, float("nan"))

    found = []
    for streams, logp in (
        (batch.streams, batch.logp),
        ({k: spoil(v) for k, v in batch.streams.items()}, spoil(batch.logp)),
    ):
        theta = logp.detach().requires_grad_()
        loss, metrics = OBJECTIVES[name](replace(batch, streams=streams, out={"logp": theta}))
        (grad,) = torch.autograd.grad(loss, theta)
        assert (grad[~batch.train] == 0).all()
        assert grad[batch.train].any()
        found.append((loss.detach(), grad, metrics))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


@every
@pytest.mark.parametrize("budget", [1, 20, 60])
def test_splitting_into_micro_batches_changes_nothing(name, budget):
    some = lessons()
    totals = totals_of(some)
    parts = [collate([some[i] for i in rows], totals) for rows in micro_batches(some, budget)]
    assert len(parts) > 1
    loss, metrics, grads = Table(some).gradient(OBJECTIVES[name], [collate(some[::-1], totals)])
    split_loss, split_metrics, split_grads = Table(some).gradient(OBJECTIVES[name], parts)
    assert split_loss == pytest.approx(loss, abs=1e-10)
    torch.testing.assert_close(grads, split_grads, rtol=0, atol=1e-10)
    torch.testing.assert_close(metrics, split_metrics, rtol=0, atol=1e-10)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("far", [-1e4, -60.0])
def test_extreme_ratios_stay_finite(name, dtype, far):
    some = lessons()
    batch = collate(some, totals_of(some))
    for logp, old in ((far, -0.01), (-0.01, far)):
        theta = torch.full(batch.tokens.shape, logp, dtype=dtype, requires_grad=True)
        loud = {k: torch.full_like(v, old) if k.endswith("logp") else v for k, v in batch.streams.items()}
        loss, metrics = OBJECTIVES[name](replace(batch, streams=loud, out={"logp": theta}))
        (grad,) = torch.autograd.grad(loss, theta)
        assert torch.isfinite(loss)
        assert torch.isfinite(grad).all()
        assert all(torch.isfinite(m).all() for m in metrics.values())


@every
def test_skips_zero_is_true_and_weight_scales(name):
    objective, some = OBJECTIVES[name], lessons()
    flat = [replace(x, advantage=(0.0,) * len(x.tokens)) for x in some]
    _, _, grads = Table(flat).gradient(objective, [collate(flat, totals_of(flat))])
    assert any(g.any() for g in grads) is not objective.skips_zero
    twice = [replace(x, weight=2 * x.weight) for x in some]
    once, both = (Table(x).gradient(objective, [collate(x, totals_of(some))])[0] for x in (some, twice))
    assert both == pytest.approx(2 * once, rel=1e-9)


def test_impossible_settings_are_refused():
    for make in (lambda: soft_gate(0), lambda: soft_gate(negative=-1), lambda: implicit_negative(0), lambda: demonstrated(0),
                 lambda: implicit_negative(least=0.6), lambda: agreement(0), lambda: drift_penalty(-1),
                 lambda: entropy_clip(dual=0.5), lambda: entropy_clip(alpha=-1)):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            make()
