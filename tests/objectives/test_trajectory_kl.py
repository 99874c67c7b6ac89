"""Demonstration-regularised RL: the card's backup, and the loss whose fixed point it is."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from journeyman.batch import Totals
from journeyman.objectives import (
    importance_kl,
    no_clip,
    on_policy,
    over_behaviour,
    plus,
    sequence_sum,
    surrogate,
    trajectory_kl,
)  # fmt: skip
from tests.objectives.batches import batch_of, coefficients

REWARD = torch.tensor([[1.0, 0.0], [0.3, 0.6]], dtype=torch.float64)  # of the answers (a, b)
CLONE = (torch.tensor([0.3, 0.7]).double().log(), torch.tensor([[0.1, 0.9], [0.5, 0.5]]).double().log())


def backup(q, clone, lam):
    """The regularised backup of the card: pi ~ clone * e^(q / lam), V = lam log sum clone e^(q / lam), over the last dimension."""
    v = lam * (clone.log() + q / lam).logsumexp(-1)
    return clone * ((q - v[..., None]) / lam).exp(), v


def solved(lam):
    """The best probabilities (2, 2) of the answers (a, b), by the backup from the second token to the first."""
    second, v = backup(REWARD, CLONE[1].exp(), lam)
    first, _ = backup(v, CLONE[0].exp(), lam)
    return first[:, None] * second


def logps(theta):
    """Log-probabilities (4, 2) of both tokens of the four answers, under logits of the first token (2) and the second (2, 2)."""
    first, second = theta[0].log_softmax(-1), theta[1].log_softmax(-1)
    return torch.stack([torch.stack([first[a], second[a, b]]) for a in range(2) for b in range(2)])


def batch_at(theta, advantage=None):
    """Every answer of two tokens, weighed by its probability: sums over the batch are expectations over the policy."""
    logp = logps(theta)
    held, _ = batch_of([[0.0, 0.0]] * 4, [1.0] * 4, ref_logp=logps(CLONE).tolist(), behaviour_logp=logp.tolist())
    share = logp.sum(1).exp().detach()
    given = torch.zeros(4, 2).double() if advantage is None else advantage[:, None].expand(4, 2)
    return replace(held, weight=share, advantage=given, totals={"rl": Totals(8, 1, 1)}, out={"logp": logp})


def drawn(seed=0):
    g = torch.Generator().manual_seed(seed)
    return (
        torch.randn(2, generator=g, dtype=torch.float64).requires_grad_(),
        torch.randn(2, 2, generator=g, dtype=torch.float64).requires_grad_(),
    )


# ------------------------------------------------------------------------------------ the card


def test_the_card():
    pi, v = backup(torch.tensor([1.0, 0.0]).double(), torch.tensor([0.2, 0.8]).double(), 0.5)
    assert pi.tolist() == pytest.approx([0.6488, 0.3512], abs=5e-5)
    assert v.item() == pytest.approx(0.41161, abs=5e-6)


def path(reward, clone, lam, rate, start=None):
    """The policies of gradient ascent by the recipe's loss, in one state; from the clone on unless told otherwise."""
    theta = (clone if start is None else start).log().clone().requires_grad_()
    objective = plus(surrogate(no_clip, over_behaviour, sequence_sum), trajectory_kl(lam))
    n = len(clone)
    held, _ = batch_of([[0.0]] * n, [1.0] * n, ref_logp=clone.log()[:, None].tolist())
    while True:
        logp = theta.log_softmax(-1)[:, None]
        chance = logp.exp()[:, 0].detach()
        yield chance
        advantage = (reward - (chance * reward).sum())[:, None]
        streams = {**held.streams, "behaviour_logp": logp.detach()}
        batch = replace(
            held, weight=chance, advantage=advantage, streams=streams, totals={"rl": Totals(n, 1, 1)}, out={"logp": logp}
        )
        (grad,) = torch.autograd.grad(objective(batch)[0], theta)
        theta = (theta - rate * grad).detach().requires_grad_()


def after(steps, policies):
    return next(islice(policies, steps, None)).tolist()


def test_the_recipes_loss_comes_to_the_cards_policy():
    reward, clone = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.2, 0.8]).double()
    assert after(200, path(reward, clone, 0.5, 1.0)) == pytest.approx([0.6488, 0.3512], abs=5e-5)
    far = torch.tensor([0.9, 0.1]).double()
    assert after(200, path(reward, clone, 1e4, 1e-4, far)) == pytest.approx([0.2, 0.8], abs=1e-4), "held to the clone"
    assert after(200, path(reward, clone, 0.0, 1.0))[0] > 0.98, "nothing holds it"


def test_more_demonstrations_leave_less_to_be_found():
    """A clone of n demonstrations (smoothed counts): the steps to a return of 0.7 at the same lam."""
    reward = torch.tensor([1.0, 0.0, 0.0, 0.0]).double()

    def steps_of(demonstrations):
        clone = torch.tensor([1.0 + demonstrations, 1, 1, 1]).double() / (4 + demonstrations)
        return next(k for k, chance in enumerate(path(reward, clone, 0.3, 0.2)) if chance[0] >= 0.7 or k == 300)

    found = [steps_of(n) for n in (0, 2, 4)]
    assert 300 > found[0] > found[1] > found[2] > 0


# ------------------------------------------------------------------------------------ the loss


def test_by_hand():
    """d = (.1, -.2, .3): what is ahead is (.2, .1, .3). One row of two, so that the mean over answers halves it."""
    logp = [[-1.0, -2.0, -0.5], [-1.0]]
    ref = [[-1.1, -1.8, -0.8], [-1.0]]
    batch, theta = batch_of(logp, [0.0, 0.0], ref_logp=ref, behaviour_logp=logp)
    found = coefficients(trajectory_kl(0.5), batch, theta)
    assert found[0].tolist() == pytest.approx([-0.05, -0.025, -0.075])
    assert not found[1].any()
    assert trajectory_kl()(batch)[1]["kl"].tolist() == pytest.approx([0.2, 4])
    skipped, theta = batch_of(logp, [0.0, 0.0], [[True, False, True], [True]], ref_logp=ref, behaviour_logp=logp)
    assert coefficients(trajectory_kl(0.5), skipped, theta)[0].tolist() == pytest.approx([-0.1, 0.0, -0.075])


@pytest.mark.parametrize("seed", range(3))
def test_expected_gradient_is_that_of_the_kl_of_whole_answers(seed):
    theta = drawn(seed)
    logp, ref = logps(theta).sum(1), logps(CLONE).sum(1)
    expected = torch.autograd.grad(0.7 * (logp.exp() * (logp - ref)).sum(), theta)
    found = torch.autograd.grad(trajectory_kl(0.7)(batch_at(theta))[0], theta)
    for a, b in zip(found, expected, strict=True):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_token_by_token_the_first_tokens_part_in_the_second_is_missing():
    """At the clone in the first token, but not in the second, there is still something for the first token to avoid."""
    theta = (CLONE[0].clone().requires_grad_(), drawn(1)[1])
    ours, theirs = (x(batch_at(theta))[0] for x in (trajectory_kl(0.7), importance_kl(0.7, reduce=sequence_sum)))
    assert torch.autograd.grad(ours, theta[0])[0].abs().max() > 0.01
    assert torch.autograd.grad(theirs, theta[0])[0].abs().max() < 1e-9


def test_an_older_sampler_is_corrected():
    """Answers weighed by another policy, its log-probabilities as behaviour: per-token ratios, as everywhere here."""
    theta = drawn(1)
    batch = batch_at(theta)
    older = replace(batch, streams={**batch.streams, "behaviour_logp": batch.streams["behaviour_logp"] - 0.3})
    found = torch.autograd.grad(trajectory_kl()(older)[0], theta, retain_graph=True)
    plain = torch.autograd.grad(trajectory_kl(ratio=on_policy)(older)[0], theta)
    for a, b in zip(found, plain, strict=True):
        torch.testing.assert_close(a, b * torch.tensor(0.3).double().exp())


@pytest.mark.parametrize("lam", [0.3, 1.0])
def test_of_two_tokens_the_fixed_point_is_the_tabular_backup(lam):
    theta = tuple(x.clone().requires_grad_() for x in CLONE)
    objective = plus(surrogate(no_clip, over_behaviour, sequence_sum), trajectory_kl(lam))
    for _ in range(300):
        chance = logps(theta).sum(1).exp().detach()
        reward = REWARD.flatten()
        batch = batch_at(theta, reward - (chance * reward).sum())
        grads = torch.autograd.grad(objective(batch)[0], theta)
        theta = tuple((x - 4.0 * g).detach().requires_grad_() for x, g in zip(theta, grads, strict=True))
    found = logps(theta).sum(1).exp().view(2, 2).detach()
    torch.testing.assert_close(found, solved(lam), rtol=0, atol=1e-3)
    assert (found - logps(CLONE).sum(1).exp().view(2, 2)).abs().max() > 0.05


def test_it_refuses_a_negative_weight():
    assert trajectory_kl().needs == {"lessons", "forward.logp", "ref_logp", "behaviour_logp"}
    with pytest.raises(ValueError, match="expected a number of at least 0"):
        trajectory_kl(-0.1)
