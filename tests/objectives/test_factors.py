"""The method cards' worked numbers for every clip, ratio, reducer and KL estimator."""

import math
from dataclasses import replace

import pytest
import torch

from journeyman.batch import Totals
from journeyman.objectives import (
    cap,
    fixed_length,
    k1,
    k2,
    k3,
    kl_penalty,
    nll,
    no_clip,
    on_policy,
    over_behaviour,
    over_old,
    ppo_clip,
    probability,
    sequence_mean,
    sequence_ratio,
    sequence_sum,
    surrogate,
    times,
    token_mean,
    truncated,
)  # fmt: skip
from tests.objectives.batches import batch_of, coefficients


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"), [(1.25, 1, 1.25), (1.3, 1, 0), (0.7, 1, 0.7), (0.7, -1, 0), (1.5, -1, -1.5), (4, -1, 0)]
)
def test_ppo_clip_card(ratio, advantage, expected):
    batch, theta = batch_of([[-1.0]], [advantage], old_logp=[[-1.0 - math.log(ratio)]])
    got = coefficients(surrogate(ppo_clip(0.2, 0.28, dual=3.0), over_old), batch, theta)
    assert got.item() == pytest.approx(expected, abs=1e-9)


def test_dual_clip_is_for_negative_advantages_only():
    batch, theta = batch_of([[-1.0]], [1.0], old_logp=[[-1.0 - math.log(4)]])
    assert coefficients(surrogate(ppo_clip(0.2, 9.0, dual=3.0), over_old), batch, theta).item() == pytest.approx(4.0)


@pytest.mark.parametrize(("ratio", "advantage", "expected"), [(1.3, 1, 1.28), (0.7, -1, -0.7), (4, -1, -1.28)])
def test_cap_card(ratio, advantage, expected):
    batch, theta = batch_of([[-1.0]], [advantage], old_logp=[[-1.0 - math.log(ratio)]])
    assert coefficients(surrogate(cap(1.28), over_old), batch, theta).item() == pytest.approx(expected, abs=1e-9)


def test_gspo_card():
    batch, theta = batch_of([[-1.0, -1.0]], [1.0], old_logp=[[-1.0 - math.log(1.2), -1.0 - math.log(0.9)]])
    assert sequence_ratio()(batch).tolist()[0] == pytest.approx([1.03923] * 2, abs=1e-5)
    free = coefficients(surrogate(no_clip, sequence_ratio(), sequence_mean), batch, theta)
    assert free[0].tolist() == pytest.approx([0.5196] * 2, abs=1e-4)
    assert not coefficients(surrogate(ppo_clip(3e-4, 4e-4), sequence_ratio(), sequence_mean), batch, theta).any()


def test_dft_card():
    batch, theta = batch_of([[math.log(0.2)]], [1.0])
    logits = torch.tensor([math.log(0.2), math.log(0.8)], dtype=torch.float64, requires_grad=True)
    for objective, value, grad in ((nll(), 1.6094, -0.8), (surrogate(ratio=probability), 0.32189, -0.16)):
        assert objective(batch)[0].item() == pytest.approx(value, abs=1e-4)
        loss, _ = objective(replace(batch, out={"logp": logits.log_softmax(0)[:1, None].T}))
        assert torch.autograd.grad(loss, logits)[0][0].item() == pytest.approx(grad, abs=1e-9)
    for p, expected in ((0.01, 0.0099), (0.5, 0.25), (0.99, 0.0099)):
        batch, theta = batch_of([[math.log(p)]], [1.0])
        got = coefficients(surrogate(ratio=probability), batch, theta).item() * (1 - p)
        assert got == pytest.approx(expected, abs=1e-4)


def test_reducers_card():
    batch, _ = batch_of([[-1.0] * 2, [-2.0] * 4], [1.0, 1.0])
    found = [nll(r)(batch)[0].item() for r in (token_mean, sequence_mean, sequence_sum, fixed_length(8))]
    assert found == pytest.approx([10 / 6, 1.5, 5.0, 0.625], abs=1e-9)


def test_reducers_divide_by_the_whole_step_and_weigh():
    batch, _ = batch_of([[-1.0] * 2, [-2.0] * 4], [1.0, 1.0], weight=[1.0, 0.5], totals={"rl": Totals(12, 4, 2)})
    found = [nll(r)(batch)[0].item() for r in (token_mean, sequence_mean, sequence_sum, fixed_length(8))]
    assert found == pytest.approx([6 / 12, 2 / 4, 6 / 4, 6 / 32], abs=1e-9)


def test_kl_card():
    p, q = torch.tensor(math.log(0.5)), torch.tensor(math.log(0.25))
    assert [f(p, q).item() for f in (k1, k2, k3)] == pytest.approx([0.6931, 0.2402, 0.1931], abs=1e-4)


def test_kl_penalty_has_the_estimators_gradient():
    batch, theta = batch_of([[math.log(0.5)]], [0.0], ref_logp=[[math.log(0.25)]])
    for estimator, slope in ((k1, 1.0), (k2, math.log(2)), (k3, 1 - 0.5)):
        got = coefficients(kl_penalty(0.04, estimator), batch, theta).item()
        assert got == pytest.approx(-0.04 * slope, abs=1e-9)


def test_ratios_and_their_needs():
    batch, _ = batch_of([[-1.0, -2.0]], [1.0], old_logp=[[-1.5, -2.0]], behaviour_logp=[[-3.0, -2.2]])
    assert on_policy(batch)[0].tolist() == [1, 1]
    assert over_old(batch)[0].tolist() == pytest.approx([math.exp(0.5), 1])
    assert over_behaviour(batch)[0].tolist() == pytest.approx([math.exp(2), math.exp(0.2)])
    assert truncated(2.0)(batch)[0].tolist() == pytest.approx([2.0, math.exp(0.2)])
    product = times(over_old, truncated(2.0))
    assert product(batch)[0].tolist() == pytest.approx([2 * math.exp(0.5), math.exp(0.2)])
    assert product.needs == {"old_logp", "behaviour_logp"}
    assert sequence_ratio(over_behaviour).needs == {"behaviour_logp"}
    assert surrogate(ppo_clip(), over_old).needs == {"lessons", "advantage", "forward.logp", "old_logp"}


def test_the_clip_does_not_see_a_correction():
    """min(pi_old / mu, C) * PPO: the correction of 2 alone would be far outside the clip's range."""
    batch, theta = batch_of([[-1.0]], [1.0], old_logp=[[-1.0]], behaviour_logp=[[-9.0]])
    corrected = surrogate(ppo_clip(), over_old, correction=truncated(2.0))
    assert coefficients(corrected, batch, theta).item() == pytest.approx(2.0)
    assert coefficients(surrogate(ppo_clip(), times(over_old, truncated(2.0))), batch, theta).item() == 0


def test_a_missing_stream_is_named():
    batch, _ = batch_of([[-1.0]], [1.0])
    with pytest.raises(ValueError, match=r"needs 'behaviour_logp', which the batch lacks, as do 1 of its 1 lessons \['a0'\]"):
        surrogate(ratio=over_behaviour)(batch)


def test_impossible_settings_are_refused():
    for make in (lambda: ppo_clip(low=-1), lambda: ppo_clip(dual=0.5), lambda: cap(0.5), lambda: fixed_length(0),
                 lambda: kl_penalty(-1), times, lambda: truncated(0.5)):  # fmt: skip
        with pytest.raises(ValueError, match=r"expected|write"):
            make()


def test_metrics_count_what_was_clipped():
    old = [[-1.0 - math.log(r) for r in (1.0, 1.1, 1.5, 2.0)]]
    batch, _ = batch_of([[-1.0] * 4], [1.0], train=[[True, True, True, False]], old_logp=old)
    metrics = surrogate(ppo_clip(), over_old)(batch)[1]
    assert metrics["clip_fraction"].tolist() == [1, 3]
    assert metrics["ratio"].tolist() == pytest.approx([3.6, 3])
