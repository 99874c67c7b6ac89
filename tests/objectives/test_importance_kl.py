"""The ratio-weighted KL: the paper's loss by autograd, and the exact KL by enumeration."""

import pytest
import torch

from journeyman.objectives import importance_kl, k3, kl_penalty, on_policy, over_old, plus, ppo_clip, sequence_mean, surrogate
from tests.objectives.batches import batch_of
from tests.objectives.test_coefficients import Drawn, ppo


@pytest.mark.parametrize("seed", range(5))
def test_gradient_is_that_of_the_papers_loss(seed):
    """GRPO with beta * ratio * k3, the ratio differentiated, as the paper writes it."""
    d = Drawn(seed)

    def one(i):
        lp, old, _, ref, a = d.row(i)
        ratio = (lp - old).exp()
        return (ppo(ratio, a) + 0.3 * ratio * ((ref - lp).exp() - (ref - lp) - 1)).mean()

    (expected,) = torch.autograd.grad(d.mean_of(one), d.theta)
    ours = plus(surrogate(ppo_clip(), over_old, sequence_mean), importance_kl(0.3, over_old, sequence_mean))
    loss, metrics = ours(d.batch)
    (found,) = torch.autograd.grad(loss, d.theta)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    rows = [d.row(i) for i in range(4)]
    kl = torch.cat([(lp - old).exp() * k3(lp, ref) for lp, old, _, ref, _ in rows])
    torch.testing.assert_close(metrics["kl"][0] / metrics["kl"][1], kl.mean().detach())


def exact_and_found(old, part):
    """Gradients by the logits of a distribution of three: of KL(pi || ref), and of the part's loss in expectation under ``old``."""
    logits = torch.tensor([0.3, -1.0, 0.4], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    logp = logits.log_softmax(0)
    (exact,) = torch.autograd.grad((logp.exp() * (logp - ref.log())).sum(), logits, retain_graph=True)
    expected = torch.zeros((), dtype=torch.float64)
    for token, p in enumerate(old.tolist()):
        batch, _ = batch_of([[0.0]], [1.0], old_logp=[[float(old[token].log())]], ref_logp=[[float(ref[token].log())]])
        expected = expected + p * part(batch.with_out({"logp": logp[token].reshape(1, 1)}))[0]
    (found,) = torch.autograd.grad(expected, logits)
    return exact, found


def test_its_expected_gradient_is_the_kls_on_and_off_policy():
    on = torch.tensor([0.3, -1.0, 0.4], dtype=torch.float64).softmax(0)
    off = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    for old in (on, off):
        exact, found = exact_and_found(old, importance_kl(1.0, over_old))
        torch.testing.assert_close(found, exact)
    for old in (on, off):  # the control: neither k3 as a loss nor leaving the ratio out gives it
        exact, found = exact_and_found(old, kl_penalty(1.0, k3))
        assert (found - exact).abs().max() > 0.01
    exact, found = exact_and_found(off, importance_kl(1.0, on_policy))
    assert (found - exact).abs().max() > 0.01


def test_tokens_that_the_policy_gave_up_do_not_pull_without_bound():
    """logp - ref_logp = -15: k3's pull is e^15, this one's 15 times the ratio."""
    batch, theta = batch_of([[-15.0]], [1.0], old_logp=[[-15.0]], ref_logp=[[-0.01]])
    (k3s,) = torch.autograd.grad(kl_penalty(1.0, k3)(batch)[0], theta)
    (ours,) = torch.autograd.grad(importance_kl(1.0, over_old)(batch)[0], theta)
    assert k3s.item() < -1e6
    assert ours.item() == pytest.approx(-14.99)


def test_what_it_needs_and_refuses():
    assert importance_kl().needs == {"lessons", "forward.logp", "ref_logp", "behaviour_logp"}
    assert importance_kl(ratio=over_old).needs == {"lessons", "forward.logp", "ref_logp", "old_logp"}
    with pytest.raises(ValueError, match="beta=-1"):
        importance_kl(-1)
