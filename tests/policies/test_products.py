"""Matrix products of either library and in int8, and logits in parts: the same numbers, or near them where rounded."""

import asyncio

import pytest
import torch
from torch.nn import functional as F

from journeyman.bench import lessons_of
from journeyman.learners import Gradient
from journeyman.objectives import nll, token_mean
from journeyman.policies import decoder_policy, kernels, products, scoring
from journeyman.policies.load import BASE, load_policy
from journeyman.types import Sampling
from tests.policies.gradients import assert_same, gradients

needs_compiler = pytest.mark.skipif(kernels.compiler() is None, reason="no C++ compiler on this machine")


@pytest.mark.parametrize("entropy", [True, False])
def test_logits_in_parts_are_made_again(entropy, monkeypatch):
    states, where = torch.randn(30, 8), torch.arange(30).view(3, 10)
    tokens, at, heat = torch.randint(0, 50, (3, 10)), torch.rand(3, 10) < 0.9, torch.ones(3)
    made = []

    def work(states, weight):
        def head(x):
            made.append(len(x))
            return x @ weight.T

        return scoring.score(states, where, head, 50, tokens, at, heat, entropy)

    weight = torch.randn(50, 8)
    whole = gradients(work, states, weight)
    assert len(made) == 1
    made.clear()
    monkeypatch.setattr(scoring, "_LOGITS", 50 * 7)
    assert_same(gradients(work, states, weight), whole)
    assert max(made) == 7
    assert len(made) == 2 * len(set(range(0, int(at[:, 1:].sum()), 7)))  # once forward, once backward


@pytest.mark.parametrize("bias", [False, True])
def test_products_of_either_library(bias, monkeypatch):
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    monkeypatch.setattr(products, "LARGE", 1)
    monkeypatch.setattr(products, "LARGE_SUM", 1)
    x, w, b, h = torch.randn(3, 40, 24), torch.randn(56, 24), torch.randn(56), torch.randn(120, 56)
    given = (x, w, b) if bias else (x, w)
    flat, matrix, over = x.view(120, 24), w.t().contiguous(), b if bias else None
    found = []
    for ahead in (True, False):
        monkeypatch.setattr(products, "onednn_is_ahead", lambda ahead=ahead: ahead)
        found.append((gradients(products.linear, *given), products.product(flat, matrix, over)))
        added = products.add_product(h.clone(), flat, matrix, over)
        assert torch.allclose(added, h + F.linear(flat, w, over), atol=1e-4)
    assert_same(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], atol=1e-4)
    monkeypatch.setattr(products, "onednn_is_ahead", lambda: True)
    with torch.autocast("cpu", torch.bfloat16):
        assert products.linear(x, w).dtype == torch.bfloat16


@needs_compiler
def test_int8_products_are_near_and_exact_in_whole_numbers():
    torch.manual_seed(0)
    x, w, b, h = torch.randn(40, 160), torch.randn(160, 320) / 12, torch.randn(320), torch.randn(40, 320)
    x[3] = 0
    matrix = products.int8(w)
    near = products.product(x, matrix, b)
    assert (near - (x @ w + b)).abs().max() < 0.05  # of values near 1
    use = kernels.load()
    assert use is not None
    whole, row = use.quantise(x)
    assert int(whole.abs().max()) == 127
    exactly = (whole.double() @ matrix.whole.double()) * row[:, None] * matrix.scale + b
    assert torch.allclose(near.double(), exactly, atol=1e-5)
    assert torch.allclose(products.add_product(h.clone(), x, matrix, b), h + near, atol=1e-5)


@needs_compiler
def test_sampling_in_int8_is_near_and_tells_its_own_log_probabilities():
    policy = load_policy(BASE, device="cpu")
    assert isinstance(policy, decoder_policy.Decoder)
    policy.int8 = True
    prompts = [tuple(range(4, 24 + i)) for i in range(8)]

    async def draw():
        return await asyncio.gather(*(policy.engine.sample(p, Sampling(60), i) for i, p in enumerate(prompts)))

    drawn = asyncio.run(draw())
    exact = policy._score([p + tuple(d.tokens) for p, d in zip(prompts, drawn, strict=True)])  # in float32
    apart = [abs(a - b) for p, d, e in zip(prompts, drawn, exact, strict=True) for a, b in zip(e[len(p) :], d.logp, strict=True)]
    assert 1e-5 < sum(apart) / len(apart) < 0.05
    own = policy.fused().score([p + tuple(d.tokens) for p, d in zip(prompts, drawn, strict=True)])
    apart = [abs(a - b) for p, d, e in zip(prompts, drawn, own, strict=True) for a, b in zip(e[len(p) :], d.logp, strict=True)]
    assert sum(apart) / len(apart) < 0.02  # activations are rounded row by row: a prompt read in one go rounds as token by token
    assert not policy.frozen().int8


@pytest.mark.parametrize("bias", [False, True])
def test_products_rounded_to_bfloat16_are_those_of_rounded_operands(bias):
    torch.manual_seed(0)
    x, w, b = torch.randn(3, 40, 24), torch.randn(56, 24), torch.randn(56)
    given = (x, w, b) if bias else (x, w)
    exact = gradients(products.linear, *given)
    with products.half(True):
        near = gradients(products.linear, *given)
        with products.half(False):
            assert_same(gradients(products.linear, *given), exact)
    assert_same(near, exact, 0.02)
    assert all(found.dtype == torch.float32 for group in near for found in group)
    rounded = x.bfloat16().double() @ w.bfloat16().double().t() + (b if bias else 0)
    assert (near[0][0] - rounded).abs().max() < 2**-8 * rounded.abs().max()  # one rounding of the sum
    assert not torch.equal(near[0][0], exact[0][0])
    assert_same(gradients(products.linear, *given), exact)  # outside again as before


@pytest.mark.parametrize("packed", [pytest.param(True, marks=needs_compiler), False])
def test_learning_in_bfloat16_products_is_near_and_keeps_float32_weights(packed, monkeypatch):
    if not packed:
        monkeypatch.setattr(decoder_policy, "usable", lambda model: None)
    lessons = lessons_of(500, rows=8, prompt=8, answer=8)
    found = {}
    for on in (False, True):
        policy = load_policy(BASE, device="cpu")
        assert isinstance(policy, decoder_policy.Decoder)
        policy.half = on
        learner = Gradient(nll(token_mean), lr=1e-3)
        metrics = learner.update(policy, lessons)
        found[on] = metrics, {name: p.detach().clone() for name, p in policy.trained()}
        assert policy.frozen().half is on
    assert found[True][0]["loss"] != found[False][0]["loss"]
    assert found[True][0]["loss"] == pytest.approx(found[False][0]["loss"], rel=5e-3)
    assert found[True][0]["grad_norm"] == pytest.approx(found[False][0]["grad_norm"], rel=2e-2)
    assert all(p.dtype == torch.float32 for p in found[True][1].values())
