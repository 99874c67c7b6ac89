"""OTR: the card's numbers, the paper's literal loss, its identity with DFT, and what drawing candidates changes."""

from dataclasses import replace

import pytest
import torch

from journeyman.objectives import nll, no_clip, one_token, probability, sequence_mean, surrogate, token_mean
from tests.objectives.batches import batch_of

CARD = torch.tensor([[[0.5, 0.3, 0.2]]], dtype=torch.float64).log()


def made(logits, labels, train=None):
    """A batch of these logits (B, T, V), a leaf that is returned too, and the log-probabilities of the labels (B, T)."""
    rows, time = labels.shape
    batch, _ = batch_of([[0.0] * time] * rows, [1.0] * rows, None if train is None else train.tolist())
    theta = logits.detach().clone().requires_grad_()
    logp = theta.log_softmax(-1).gather(2, labels[..., None])[..., 0]
    return replace(batch, tokens=labels, out={"logits": theta, "logp": logp}), theta


def drawn(seed=0, rows=4, time=6, vocab=7):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, time, vocab, generator=g, dtype=torch.float64)
    labels = torch.randint(0, vocab, (rows, time), generator=g)
    return made(logits, labels, torch.rand(rows, time, generator=g) < 0.8)


def ascent(objective, batch, theta):
    """Minus the gradient of the loss to the logits."""
    return -torch.autograd.grad(objective(batch)[0], theta, retain_graph=True)[0]


@pytest.mark.parametrize(
    ("kappa", "expected"), [(1.0, [-0.165, 0.231, -0.066]), (1.3, [-0.1673, 0.2385, -0.0712])], ids=["kappa 1", "kappa 1.3"]
)
def test_the_card(kappa, expected):
    batch, theta = made(CARD, torch.tensor([[1]]))
    assert ascent(one_token(kappa, -0.1), batch, theta)[0, 0].tolist() == pytest.approx(expected, abs=6e-5)
    assert ascent(surrogate(no_clip, probability), batch, theta)[0, 0].tolist() == pytest.approx([-0.15, 0.21, -0.06])
    _, metrics = one_token(kappa, -0.1)(batch)
    assert metrics["label_share"].tolist() == pytest.approx([0.3 if kappa == 1 else 0.3112, 1], abs=5e-5)
    assert metrics["nll"].tolist() == pytest.approx([1.20397, 1], abs=1e-5)


@pytest.mark.parametrize("beta", [-0.1, 0.0, 0.5, -2.0])
@pytest.mark.parametrize("reduce", [token_mean, sequence_mean])
def test_with_kappa_1_it_is_dft(beta, reduce):
    """(1 - beta) times DFT: a constant reward has no expected gradient."""
    batch, theta = drawn()
    ours = ascent(one_token(1.0, beta, reduce=reduce), batch, theta)
    theirs = ascent(surrogate(no_clip, probability, reduce), batch, theta)
    torch.testing.assert_close(ours, (1 - beta) * theirs, rtol=0, atol=1e-12)
    other = ascent(one_token(1.3, beta, reduce=reduce), batch, theta)
    assert (other - ours).abs().max() > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_that_of_the_papers_loss(seed):
    batch, theta = drawn(seed)
    kappa, beta, total, count = 1.3, -0.1, 0.0, 0
    for b, t in batch.train.nonzero().tolist():
        each, chance = theta[b, t].log_softmax(-1), (theta[b, t].detach() / kappa).softmax(-1)
        y = batch.tokens[b, t]
        rest = (chance * each).sum() - chance[y] * each[y]
        total, count = total - (chance[y] * each[y] + beta * rest), count + 1
    (expected,) = torch.autograd.grad(total / count, theta, retain_graph=True)
    torch.testing.assert_close(-ascent(one_token(kappa, beta), batch, theta), expected, rtol=1e-9, atol=1e-12)
    assert one_token(kappa, beta)(batch)[0].item() == pytest.approx((total / count).item())


def test_drawn_candidates_are_the_papers_monte_carlo_sum():
    """K draws, each with its own reward, written out."""
    batch, theta = drawn(4, rows=1, time=3)
    objective, total = one_token(1.3, -0.1, candidates=5, seed=3), 0.0
    shares = objective.drawn((theta.detach()[batch.train] / 1.3).softmax(-1), batch, 5)
    for row, (b, t) in zip(shares, batch.train.nonzero().tolist(), strict=True):
        for token in torch.arange(7).repeat_interleave((5 * row).round().long()).tolist():
            reward = 1.0 if token == batch.tokens[b, t] else -0.1
            total = total - reward * theta[b, t].log_softmax(-1)[token] / 5
    (expected,) = torch.autograd.grad(total / batch.train.sum(), theta, retain_graph=True)
    torch.testing.assert_close(-ascent(objective, batch, theta), expected, rtol=1e-9, atol=1e-12)


def test_more_candidates_come_nearer_to_the_exact_form():
    batch, theta = drawn(1, rows=8, time=40)
    exact = ascent(one_token(), batch, theta)

    def error(count):
        return ((ascent(one_token(candidates=count), batch, theta) - exact).norm() / exact.norm()).item()

    found = [error(k) for k in (16, 256, 4096)]
    assert found[2] < 0.05
    assert 2.5 < found[0] / found[1] < 6.5, "16 times the draws: a quarter of the error"
    assert 2.5 < found[1] / found[2] < 6.5


def test_draws_follow_from_the_seed_and_the_lesson():
    batch, theta = drawn(2)

    def of(seed, given=batch):
        return ascent(one_token(candidates=4, seed=seed), given, theta)

    assert torch.equal(of(0), of(0))
    assert not torch.equal(of(0), of(1))
    renamed = replace(batch, lessons=tuple(replace(x, attempt=f"{x.attempt}/next") for x in batch.lessons))
    assert not torch.equal(of(0), of(0, renamed))


def test_a_token_that_is_never_drawn_only_loses():
    batch, theta = made(torch.tensor([[[0.0, 0.0, -60.0]]], dtype=torch.float64), torch.tensor([[2]]))
    objective = one_token(1.0, -0.1, candidates=8)
    assert objective(batch)[1]["label_share"].tolist() == [0, 1]
    pushed = ascent(objective, batch, theta)[0, 0]
    assert pushed[2].item() == pytest.approx(0, abs=1e-12), "it is not learned"
    assert pushed[:2].abs().max() <= 0.1


def test_it_reads_no_advantage_and_refuses_nonsense():
    batch, theta = drawn()
    flat = replace(batch, advantage=torch.zeros_like(batch.advantage))
    assert torch.equal(ascent(one_token(), batch, theta), ascent(one_token(), flat, theta))
    assert one_token().needs == {"lessons", "forward.logits"}
    assert one_token().skips_zero is nll().skips_zero is False
    for wrong in ({"kappa": 0.0}, {"kappa": -1.0}, {"candidates": 0}):
        with pytest.raises(ValueError, match="expected"):
            one_token(**wrong)
