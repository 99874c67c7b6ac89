"""Preference objectives: the cards' numbers, the coefficient test, and what each of them promises."""

import math
from dataclasses import replace

import pytest
import torch

from journeyman.learners.packing import micro_batches, totals_of
from journeyman.objectives import chosen_nll, dpo, ipo, kto, nash, orpo, plus, simpo, step_dpo
from journeyman.protocols import Part
from tests.objectives.preferences import JOINED, PAIRED, exact_batch, pair_batch, random_pairs

every = pytest.mark.parametrize("name", JOINED)


# ---------------------------------------------------------------------------------------- cards


def test_dpo_card():
    batch, theta = pair_batch(-20.0, -25.0, ref_logp=(-21.0, -24.0))
    loss, metrics = dpo()(batch)
    assert loss.item() == pytest.approx(0.59814, abs=1e-5)
    assert metrics["margin"].tolist() == pytest.approx([0.2, 1])
    (grad,) = torch.autograd.grad(loss, theta)
    assert grad[:, 0].tolist() == pytest.approx([-0.045017, 0.045017], abs=1e-6)


def test_identical_answers_are_log_2():
    batch, _ = pair_batch(-20.0, -20.0, ref_logp=(-21.0, -21.0))
    assert dpo()(batch)[0].item() == pytest.approx(math.log(2), abs=1e-12)


def test_rlhf_workflow_card():
    """[S188]: margin 0.3; 0.5544 plain, 0.5844 with smoothing 0.1."""
    batch, _ = pair_batch(-20.0, -25.0, ref_logp=(-22.0, -24.0), old_logp=(-22.0, -24.0))
    assert dpo()(batch)[0].item() == pytest.approx(0.5544, abs=1e-4)
    assert dpo(smoothing=0.1, reference="old_logp")(batch)[0].item() == pytest.approx(0.5844, abs=1e-4)


def test_mcts_dpo_card():
    """[S191]: confidence .75, smoothing .25, m = 3, beta .1."""
    batch, _ = pair_batch(-20.0, -25.0, ref_logp=(-22.0, -24.0), smoothing=(0.25, 0.25))
    assert step_dpo()(batch)[0].item() == pytest.approx(0.6294, abs=1e-4)


def test_iterative_rpo_card():
    """Margin .3, DPO .5544, NLL 20 / 40 = .5: 1.0544 (one trained token of logp -0.5 stands for the mean)."""
    batch, _ = pair_batch(-0.5, -5.5, old_logp=(-2.5, -4.5))
    assert plus(dpo(reference="old_logp"), chosen_nll())(batch)[0].item() == pytest.approx(1.0544, abs=1e-4)


def test_ipo_ends_its_push_at_the_target():
    for gap, slope in ((0.0, -10.0), (5.0, 0.0), (6.0, 2.0)):
        batch, theta = pair_batch(-20.0 + gap, -20.0, ref_logp=(-20.0, -20.0))
        loss, _ = ipo(tau=0.1)(batch)
        assert loss.item() == pytest.approx((gap - 5) ** 2)
        assert torch.autograd.grad(loss, theta)[0][0].item() == pytest.approx(slope)


def test_simpo_by_hand():
    batch, _ = pair_batch(-0.5, -1.5)
    loss, metrics = simpo(beta=2, gamma=1)(batch)
    assert metrics["margin"][0].item() == pytest.approx(1.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_orpo_by_hand():
    """p = 1/2 has odds 1, p = 1/5 odds 1/4: m = log 4, so -log sigmoid(m) = log(5/4)."""
    batch, _ = pair_batch(math.log(0.5), math.log(0.2))
    loss, metrics = orpo(0.1)(batch)
    assert metrics["margin"][0].item() == pytest.approx(math.log(4))
    assert loss.item() == pytest.approx(math.log(2) + 0.1 * math.log(1.25))


def test_kto_by_hand():
    """r = 1 and -3: z = max(0, -1) = 0; r = 3 and 1: z = 2."""
    for (a, b), z in (((1.0, -3.0), 0.0), ((3.0, 1.0), 2.0)):
        batch, _ = pair_batch(-20 + a, -20 + b, ref_logp=(-20.0, -20.0))
        loss, metrics = kto(beta=0.5, desirable=1.2)(batch)
        good, bad = 1 / (1 + math.exp(-0.5 * (a - z))), 1 / (1 + math.exp(-0.5 * (z - b)))
        assert metrics["kl"].tolist() == pytest.approx([2 * z, 2])
        assert loss.item() == pytest.approx((1.2 * (1 - good) + (1 - bad)) / 2)


def nash_fixed_point(p, ref, beta):
    pi = ref.clone()
    for _ in range(20000):
        pi = 0.95 * pi + 0.05 * (ref.log() + p @ pi / beta).softmax(0)
    return pi


def test_nash_has_the_games_gradient_and_none_at_its_fixed_point():
    """[S177]'s card: P, ref and beta give pi* = [.4927, .1541, .3531]; there every coefficient is the same, so that the
    gradient on the logits is 0, exactly where the policy, the opponent and the anchor are pi*."""
    p = torch.tensor([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]], dtype=torch.float64)
    ref = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    best = nash_fixed_point(p, ref, 0.1)
    assert best.tolist() == pytest.approx([0.4927, 0.1541, 0.3531], abs=1e-4)
    for pi, zero in ((best, True), (ref, False)):
        logits = pi.log().requires_grad_()
        made = [replace(x, tokens=(0,), train=(True,), advantage=(0.0,), behaviour_logp=(0.0,), old_logp=(0.0,), weight=1.0,
                        streams={"ref_logp": (0.0,)}) for x in random_pairs(2)[:3]]  # fmt: skip
        batch, _ = exact_batch(made)
        logp = logits.log_softmax(0)[:, None]
        streams = {"ref_logp": ref.log()[:, None], "old_logp": pi.log()[:, None], "behaviour_logp": pi.log()[:, None]}
        batch = replace(batch, out={"logp": logp}, streams=streams, advantage=(p @ pi - 0.5)[:, None], weight=3 * pi)
        (grad,) = torch.autograd.grad(nash(beta=0.1, eta=1.0)(batch)[0], logits)
        assert (grad.abs().max().item() < 1e-9) is zero


# ---------------------------------------------------------------------------------------- the coefficient test


def answers(batch, theta, stream):
    """Trained logp and stream of each pair's preferred and rejected answer, pair by pair, and the pair's weight."""
    for i in range(0, len(batch.lessons), 2):
        own, other = batch.train[i], batch.train[i + 1]
        s, doubt = batch.streams[stream], batch.streams["smoothing"][i][own][0]
        yield theta[i][own], s[i][own], theta[i + 1][other], s[i + 1][other], batch.weight[i], doubt


def literal(batch, theta, stream, one):
    found = [weight * one(lw, rw, ll, rl, s) for lw, rw, ll, rl, weight, s in answers(batch, theta, stream)]
    return torch.stack(found).mean()


def log_sigmoid(x):
    return torch.log(1 / (1 + torch.exp(-x)))


def dpo_margin(lw, rw, ll, rl, beta=0.1):
    return beta * ((lw.sum() - rw.sum()) - (ll.sum() - rl.sum()))


def orpo_literal(lw, rw, ll, rl, s):
    pw, pl = lw.mean().exp(), ll.mean().exp()
    return -lw.mean() - 0.1 * log_sigmoid(torch.log((pw / (1 - pw)) / (pl / (1 - pl))))


def smoothed(m, s):
    return -(1 - s) * log_sigmoid(m) - s * log_sigmoid(-m)


LITERAL = {
    "dpo": ("old_logp", lambda lw, rw, ll, rl, s: smoothed(dpo_margin(lw, rw, ll, rl), 0.1)),
    "step_dpo": ("ref_logp", lambda lw, rw, ll, rl, s: smoothed(dpo_margin(lw, rw, ll, rl), s)),
    "ipo": ("ref_logp", lambda lw, rw, ll, rl, s: (dpo_margin(lw, rw, ll, rl, 1) - 1 / 0.2) ** 2),
    "simpo": ("ref_logp", lambda lw, rw, ll, rl, s: -log_sigmoid(2 / len(lw) * lw.sum() - 2 / len(ll) * ll.sum() - 1)),
    "orpo": ("ref_logp", orpo_literal),
    "chosen_nll": ("ref_logp", lambda lw, rw, ll, rl, s: -lw.mean()),
    "rpo": ("old_logp", lambda lw, rw, ll, rl, s: -log_sigmoid(dpo_margin(lw, rw, ll, rl)) - lw.sum() / len(lw)),
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", LITERAL)
def test_gradient_is_that_of_the_papers_loss(name, seed):
    batch, theta = exact_batch(random_pairs(seed=seed), seed)
    stream, one = LITERAL[name]
    expected = literal(batch, theta, stream, one)
    found, _ = JOINED[name](batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    (want,), (got,) = torch.autograd.grad(expected, theta), torch.autograd.grad(found, theta)
    assert want.abs().max() > 1e-3, "the example must have a gradient"
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_kto_has_the_gradient_of_its_value_function(seed):
    batch, theta = exact_batch(random_pairs(seed=seed), seed)
    total = torch.zeros((), dtype=torch.float64)
    for lw, rw, ll, rl, weight, _ in answers(batch, theta, "ref_logp"):
        good, bad = (lw - rw).sum(), (ll - rl).sum()
        z = max(((good + bad) / 2).item(), 0.0)
        total = total + weight * (1.2 - 1.2 * torch.sigmoid(0.1 * (good - z)) + 1 - torch.sigmoid(0.1 * (z - bad)))
    found, _ = kto(desirable=1.2)(batch)
    expected = total / len(batch.lessons)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    (want,), (got,) = torch.autograd.grad(expected, theta), torch.autograd.grad(found, theta)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_nash_has_the_gradient_of_the_regularised_game(seed):
    """On policy: REINFORCE on A - beta log(pi / ref) - beta / eta log(pi / old), each answer one action."""
    batch, theta = exact_batch(random_pairs(seed=seed), seed)
    batch = replace(batch, streams={**batch.streams, "behaviour_logp": theta.detach()})
    total = torch.zeros((), dtype=torch.float64)
    for i, x in enumerate(batch.lessons):
        at, s = batch.train[i], batch.streams
        lp = theta[i][at]
        reward = sum(x.advantage) / sum(x.train) - 0.1 * (lp - s["ref_logp"][i][at]).sum() - 0.2 * (lp - s["old_logp"][i][at]).sum()
        total = total - batch.weight[i] * reward.detach() * lp.sum()
    (want,) = torch.autograd.grad(total / len(batch.lessons), theta)
    (got,) = torch.autograd.grad(nash(beta=0.1, eta=0.5)(batch)[0], theta)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------------------------------- what each promises


@every
def test_it_declares_what_it_reads(name):
    objective, (batch, _) = JOINED[name], exact_batch(random_pairs())
    assert isinstance(objective, Part)
    declared = objective.needs & batch.streams.keys()
    objective(replace(batch, streams={k: batch.streams[k] for k in declared}))
    for word in declared:
        with pytest.raises(ValueError, match=word):
            objective(replace(batch, streams={k: v for k, v in batch.streams.items() if k != word}))


@every
def test_untrained_tokens_reach_nothing(name):
    batch, _ = exact_batch(random_pairs())
    found = []
    for spoil in (False, True):

        def kept(t, spoil=spoil):
            return torch.where(batch.train, t.detach(), float("nan")) if spoil else t.detach()

        theta = kept(batch.logp).requires_grad_()
        loss, _ = JOINED[name](replace(batch, streams={k: kept(v) for k, v in batch.streams.items()}, out={"logp": theta}))
        (grad,) = torch.autograd.grad(loss, theta)
        assert (grad[~batch.train] == 0).all()
        assert grad[batch.train].any()
        found.append((loss, grad))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def by_lesson(name, lessons, rows):
    """Loss, metrics and each lesson's gradient, summed over micro-batches of these rows."""
    totals, loss, metrics, grads = totals_of(lessons), 0.0, {}, {}
    for own in rows:
        batch, theta = exact_batch([lessons[i] for i in own], totals=totals)
        share, more = JOINED[name](batch)
        (grad,) = torch.autograd.grad(share, theta)
        loss += share.item()
        metrics = {k: metrics.get(k, 0) + v for k, v in more.items()}
        grads |= {x.attempt: g[: len(x.tokens)] for x, g in zip(batch.lessons, grad, strict=True)}
    return loss, metrics, grads


@every
@pytest.mark.parametrize("budget", [1, 40])
def test_splitting_between_pairs_changes_nothing(name, budget):
    lessons = random_pairs(6)
    parts = micro_batches(lessons, budget)
    assert len(parts) > 1
    whole, split = by_lesson(name, lessons, [range(len(lessons))]), by_lesson(name, lessons, parts)
    assert split[0] == pytest.approx(whole[0], rel=1e-12)
    torch.testing.assert_close(split[1:], whole[1:], rtol=0, atol=1e-10)
    assert all(v.shape == (2,) for v in whole[1].values())


@every
def test_the_order_of_rows_changes_nothing(name):
    lessons = random_pairs(6)
    a, b = by_lesson(name, lessons, [range(12)]), by_lesson(name, lessons[::-1], [range(12)])
    assert a[0] == pytest.approx(b[0], rel=1e-12)
    torch.testing.assert_close(a[1:], b[1:], rtol=0, atol=1e-10)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("far", [-1e4, -60.0, 0.0])
def test_extremes_stay_finite(name, dtype, far):
    batch, _ = exact_batch(random_pairs())
    for up in (True, False):
        sign = torch.tensor([x.advantage[-1] > 0 for x in batch.lessons])[:, None]
        theta = torch.where(sign == up, far, -0.01).expand(batch.tokens.shape).to(dtype).clone().requires_grad_()
        streams = {k: torch.where(sign == up, -0.01, far).expand(v.shape).to(dtype) for k, v in batch.streams.items()}
        loss, metrics = JOINED[name](
            replace(batch, streams=streams | {"smoothing": batch.streams["smoothing"]}, out={"logp": theta})
        )
        assert torch.isfinite(loss)
        assert torch.isfinite(torch.autograd.grad(loss, theta)[0]).all()
        assert all(torch.isfinite(m).all() for m in metrics.values())


@every
def test_bfloat16_is_summed_in_float32(name):
    batch, _ = exact_batch(random_pairs())
    half = batch.logp.detach().bfloat16()
    narrow, wide = (JOINED[name](replace(batch, out={"logp": x}))[0].item() for x in (half, half.float()))
    assert narrow == pytest.approx(wide, rel=1e-6)


@every
def test_weight_scales_a_pair(name):
    lessons = random_pairs()
    one = by_lesson(name, lessons, [range(8)])
    two = by_lesson(name, [replace(x, weight=2 * x.weight) for x in lessons], [range(8)])
    assert two[0] == pytest.approx(2 * one[0], rel=1e-12)


@pytest.mark.parametrize("name", PAIRED)
def test_half_a_pair_is_refused(name):
    lessons = random_pairs()
    for broken in (lessons[:1], [lessons[0], replace(lessons[1], advantage=lessons[0].advantage[:1] * len(lessons[1].tokens))]):
        with pytest.raises(ValueError, match="expected one of each"):
            PAIRED[name](exact_batch(broken)[0])
    with pytest.raises(ValueError, match="no pair id"):
        PAIRED[name](exact_batch([replace(lessons[0], pair=None)])[0])


def test_impossible_settings_are_refused():
    for make in (lambda: dpo(beta=-1), lambda: dpo(smoothing=0.6), lambda: dpo(reference="old"), lambda: ipo(tau=0),
                 lambda: simpo(beta=-1), lambda: orpo(-1), lambda: kto(desirable=-1), lambda: nash(eta=0), lambda: nash(cap=0.5),
                 lambda: step_dpo(reference="x")):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            make()
