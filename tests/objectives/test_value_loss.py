"""The value term, by hand and against the literal loss of PPO."""

from dataclasses import replace

import pytest
import torch

from journeyman.objectives import over_old, plus, ppo_clip, sequence_mean, surrogate, token_mean, value_loss
from tests.objectives.batches import batch_of, padded


def with_values(rows, returns, old, **kw):
    batch, theta = batch_of([[-1.0] * len(r) for r in rows], [1.0] * len(rows), returns=returns, old_value=old, **kw)
    worth = padded(rows).requires_grad_()
    return batch.with_out({"logp": theta, "value": worth}), worth


def test_by_hand():
    """V - returns = (-0.3, 0.5, 0.1); the second left 0.2 around its old value of 0.5, so that V_c = 0.7."""
    batch, _ = with_values([[0.2, 1.0], [0.6]], [[0.5, 0.5], [0.5]], [[0.1, 0.5], [0.6]])
    loss, metrics = value_loss(coefficient=1.0, clip=None)(batch)
    assert loss.item() == pytest.approx((0.09 + 0.25 + 0.01) / 2 / 3)
    assert metrics["value_loss"].tolist() == pytest.approx([0.35 / 2, 3])
    assert value_loss(coefficient=0.5, clip=0.2)(batch)[0].item() == pytest.approx(0.5 * (0.09 + 0.25 + 0.01) / 2 / 3)
    far, _ = with_values([[0.5]], [[0.5]], [[0.0]])
    assert value_loss(coefficient=1.0, clip=0.2)(far)[0].item() == pytest.approx(0.3**2 / 2), "V_c = 0.2 is the worse of the two"


def test_beyond_the_clip_towards_the_return_there_is_no_gradient():
    batch, worth = with_values([[0.5, 0.1, -0.5]], [[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]])
    (grad,) = torch.autograd.grad(value_loss(1.0, 0.2)(batch)[0], worth)
    assert grad[0].tolist() == pytest.approx([0.0, -0.9 / 3, -1.5 / 3])


@pytest.mark.parametrize("reduce", [token_mean, sequence_mean])
@pytest.mark.parametrize("clip", [0.2, None])
def test_ppo_with_its_value_loss_is_the_literal_one(reduce, clip):
    """-E[min(ratio A, clip(ratio) A)] + c * E[1/2 max((V - R)^2, (V_c - R)^2)], gradients to logp and V."""
    g = torch.Generator().manual_seed(0)
    lengths, c = (4, 7, 2, 5), 0.3

    def rows(scale, shift=0.0):
        return [(scale * torch.rand(n, generator=g, dtype=torch.float64) + shift).tolist() for n in lengths]

    train = [[bool(x > 0.3) for x in r[:-1]] + [True] for r in rows(1)]
    streams = {"old_logp": rows(2, -2.5), "returns": rows(1), "old_value": rows(1)}
    batch, theta = batch_of(rows(2, -2.5), rows(2, -1), train, **streams)
    worth = padded(rows(1)).requires_grad_()
    batch = batch.with_out({"logp": theta, "value": worth})

    def literal(i):
        at, s = batch.train[i], {k: v[i][batch.train[i]] for k, v in batch.streams.items()}
        a, v = batch.advantage[i][at], worth[i][at]
        ratio = (theta[i][at] - s["old_logp"]).exp()
        gain = torch.min(ratio * a, ratio.clamp(0.8, 1.2) * a)
        error = (v - s["returns"]) ** 2
        if clip is not None:
            near = torch.clamp(v, s["old_value"] - clip, s["old_value"] + clip)
            error = torch.max(error, (near - s["returns"]) ** 2)
        return -gain + c * 0.5 * error

    each = [literal(i) for i in range(len(lengths))]
    whole = torch.cat(each).mean() if reduce is token_mean else torch.stack([x.mean() for x in each]).mean()
    objective = plus(surrogate(ppo_clip(), over_old, reduce), value_loss(c, clip, reduce))
    expected = torch.autograd.grad(whole, [theta, worth])
    found = torch.autograd.grad(objective(batch)[0], [theta, worth])
    for a, b in zip(found, expected, strict=True):
        assert b.any()
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_it_reads_what_it_says():
    assert value_loss().needs - value_loss(clip=None).needs == {"old_value"}
    batch, _ = with_values([[0.5]], [[0.5]], [[0.0]])
    value_loss(clip=None)(replace(batch, streams={"returns": batch.streams["returns"]}))
    for wrong in ({"coefficient": -1.0}, {"clip": -0.1}):
        with pytest.raises(ValueError, match="expected"):
            value_loss(**wrong)
