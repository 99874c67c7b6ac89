"""Compiled kernels give what the torch path gives, and sampling goes on without them where they cannot be built."""

import asyncio
import logging
import subprocess

import numpy as np
import pytest
import torch

from journeyman.policies import kernels
from journeyman.policies.fused import Fused
from journeyman.policies.load import BASE, load_policy
from journeyman.policies.sampler import draw, uniforms
from journeyman.types import Sampling

needs_compiler = pytest.mark.skipif(kernels.compiler() is None, reason="no C++ compiler on this machine")


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Building starts anew, in an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JOURNEYMAN_KERNELS", raising=False)
    kernels.load.cache_clear()
    yield monkeypatch
    kernels.load.cache_clear()


def sampled(calls: int) -> list:
    policy = load_policy(BASE, device="cpu")
    prompts = [tuple(range(4, 4 + 5 + 7 * (i % 9))) for i in range(calls)]  # siblings, and rows that end at different times

    async def gather():
        return await asyncio.gather(*(policy.engine.sample(p, Sampling(10 + i), i) for i, p in enumerate(prompts)))

    return asyncio.run(gather())


@needs_compiler
def test_a_step_is_that_of_torch(fresh):
    fast = sampled(40)
    fresh.setenv("JOURNEYMAN_KERNELS", "0")
    kernels.load.cache_clear()
    plain = sampled(40)
    same = [(a, b) for a, b in zip(fast, plain, strict=True) if a.tokens == b.tokens]
    assert len(same) >= 38  # a draw at the very edge of a token may fall on either side
    assert max(abs(p - q) for a, b in same for p, q in zip(a.logp, b.logp, strict=True)) < 1e-4


@needs_compiler
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_every_shape_of_layer(family, bias, fresh):
    from journeyman.policies.decoder import Architecture, CausalLM

    for head_dim, group in zip(kernels.HEAD_DIMS, (1, 2, 3, 4, 5, 7), strict=True):
        shape = {"vocab_size": 70, "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2, "head_dim": head_dim}
        heads = {"num_attention_heads": 2 * group, "num_key_value_heads": 2, "attention_bias": bias, "mlp_bias": bias}
        model = CausalLM(Architecture.of({"model_type": family, **shape, **heads}))
        model.initialise(0, std=0.3)
        for parameter in model.parameters():
            if parameter.dim() == 1:
                torch.nn.init.normal_(parameter, 1.0, 0.3)
        fused = Fused(model, 0)
        assert fused.kernels is not None
        tokens = torch.randint(70, (5, 40))
        length = [40, 3, 17, 1, 33]
        cache = torch.full((2, 2, 5, 2, 48, head_dim), torch.nan)  # what is no row's own must not matter
        for row, n in enumerate(length):
            if n > 1:
                cache[:, :, row, :, 48 - n : 47] = fused.prefill(tokens[row : row + 1, : n - 1])[:, :, 0]
        last = torch.stack([tokens[row, n - 1] for row, n in enumerate(length)])
        window = cache[:, :, :, :, 8:]  # strided, as the engine passes it
        with torch.inference_mode():
            got = fused.step(last, torch.tensor(length) - 1, 40, window, [], None)
            for row, n in enumerate(length):
                torch.testing.assert_close(got[row], model(tokens[row : row + 1, :n])[0, -1], atol=2e-4, rtol=2e-4)


@needs_compiler
@pytest.mark.parametrize("vocab", [5, 64, 1000, 1024])
def test_a_draw_is_that_of_torch(vocab, fresh):
    fast = kernels.load()
    rows = 400
    source = torch.Generator().manual_seed(vocab)
    logits = torch.randn(rows, vocab, generator=source) * 4
    logits[::7, ::2] = -torch.inf
    u = uniforms(np.arange(rows, dtype=np.uint64), np.zeros(rows, dtype=np.int64))
    u[:3] = 0.0, 1 - 2.0**-22, 0.5
    temperature = np.where(np.arange(rows) % 5 == 0, 0.0, 0.7)
    plain = draw(logits.clone(), u, temperature, np.ones(rows))
    quick = draw(logits.clone(), u, temperature, np.ones(rows), fast)
    assert (plain[0] == quick[0]).float().mean() > 0.99
    assert torch.isfinite(quick[1]).all()  # never a token without mass
    same = plain[0] == quick[0]
    torch.testing.assert_close(plain[1][same], quick[1][same], atol=1e-5, rtol=1e-5)
    cut = draw(logits.clone(), u, temperature, np.full(rows, 0.5), fast)  # a nucleus takes the torch path
    assert torch.equal(cut[0], draw(logits.clone(), u, temperature, np.full(rows, 0.5))[0])


@needs_compiler
def test_logits_that_are_no_numbers_give_no_number(fresh):
    logits = torch.full((2, 100), torch.nan)
    logits[1] = torch.inf
    token, logp = draw(logits, np.array([0.3, 0.3], dtype=np.float32), np.ones(2), np.ones(2), kernels.load())
    assert token.tolist() == [0, 0]
    assert torch.isnan(logp).all()


@needs_compiler
def test_it_is_built_once(fresh, tmp_path):
    assert kernels.load() is not None
    (made,) = (tmp_path / "journeyman").iterdir()
    kernels.load.cache_clear()
    fresh.setattr(subprocess, "run", lambda *a, **k: pytest.fail("built again") if "-O3" in a[0] else RUN(*a, **k))
    assert kernels.load() is not None
    assert list((tmp_path / "journeyman").iterdir()) == [made]


RUN = subprocess.run


@pytest.mark.parametrize("broken", ["no-such-compiler", "false"])
def test_sampling_goes_on_without_a_compiler(broken, fresh, caplog):
    fresh.setenv("CXX", broken)
    with caplog.at_level(logging.WARNING):
        assert kernels.load() is None
    assert "going on without compiled kernels" in caplog.text
    assert len(sampled(3)) == 3
