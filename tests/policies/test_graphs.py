"""The step in shapes that stay: the plain step's logits, compiled once for all sizes and versions."""

import asyncio
import logging

import numpy as np
import pytest
import torch

from journeyman.policies import Decoder
from journeyman.policies.cache import Cache
from journeyman.policies.decoder import Architecture, CausalLM
from journeyman.policies.engine import Engine
from journeyman.policies.fused import Fused
from journeyman.policies.graphs import Steps
from journeyman.types import Sampling, user
from tests.policies.test_engine import plain_logp, with_ends

SHAPE = {"vocab_size": 70, "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2, "head_dim": 16}
FAMILIES = [("qwen3", 2, False), ("llama", 1, True), ("qwen2", 4, False)]


@pytest.fixture(autouse=True)
def compiled_anew(caplog, request):
    """Nothing is left of the tests before, and nothing but the last test goes on without compiling."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    said = [r.getMessage() for r in caplog.get_records("call") if r.name == "journeyman.policies.graphs"]
    assert bool(said) == ("nothing_can_be_compiled" in request.node.name), said


def model_of(family, group, bias):
    heads = {"num_attention_heads": 2 * group, "num_key_value_heads": 2, "attention_bias": bias, "mlp_bias": bias}
    model = CausalLM(Architecture.of({"model_type": family, **SHAPE, **heads}))
    model.initialise(0, std=0.3)
    torch.manual_seed(0)
    for p in model.parameters():
        if p.dim() == 1:
            torch.nn.init.normal_(p, 1.0, 0.3)
    return model


def filled(weights, rows, columns, clock):
    """A block full of random numbers, which bfloat16 can hold: prompts where a row may look, and rubbish where it must not."""
    cache = Cache(weights.architecture, weights.embed.dtype, torch.device("cpu"))
    numbers = torch.randn(2, 2, rows, 2, columns, 16, generator=torch.Generator().manual_seed(5))
    cache.data, cache.clock = numbers.bfloat16().to(weights.embed.dtype), clock
    return cache


@torch.inference_mode()
def both(model, steps, lengths, columns=64, clock=50):
    """Logits of ``Fused.step`` by torch alone and of ``steps``, and the blocks that they leave."""
    weights = Fused(model, 0)
    weights.kernels = None
    tokens, positions = np.arange(len(lengths)) % 70, np.asarray(lengths)
    cache, other = (filled(weights, len(lengths), columns, clock) for _ in range(2))
    wide = max(lengths) + 1
    window = cache.data[..., clock - wide + 1 : clock + 1, :]
    hidden = torch.arange(wide)[None] < (wide - 1 - torch.from_numpy(positions))[:, None]
    mask = torch.zeros(hidden.shape).masked_fill(hidden, float("-inf")).to(weights.embed.dtype)
    whole = [(0, len(lengths), 0)]
    plain = weights.step(torch.from_numpy(tokens), torch.from_numpy(positions), wide, window, whole, mask)
    return plain, steps(weights, other, tokens, positions), cache, other


@pytest.mark.parametrize("backend", [None, "aot_eager"])
@pytest.mark.parametrize(("family", "group", "bias"), FAMILIES)
def test_logits_and_cache_are_those_of_the_plain_step(family, group, bias, backend):
    model = model_of(family, group, bias)
    for lengths, columns in (([3, 40, 1, 17, 0] * 4, 64), ([9, 50] * 16, 128)):
        plain, ours, cache, other = both(model, Steps(backend), lengths, columns)
        assert plain.std() > 0.5, "flat logits would prove nothing"
        torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other.data, cache.data, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("family", "group", "bias"), FAMILIES[:2])
def test_sixteen_bits_are_near_float32(family, group, bias):
    """Both steps in bfloat16, beside float32 with the same rounded weights and cache."""
    model, lengths = model_of(family, group, bias).to(torch.bfloat16), [3, 40, 1, 17, 0] * 4
    plain, ours, _, _ = both(model, Steps("aot_eager"), lengths)
    assert plain.dtype == ours.dtype == torch.bfloat16
    reference, *_ = both(model.float(), Steps(None), lengths)
    for found in (plain, ours):
        away = (found.float() - reference).abs() / reference.std()
        assert away.mean() < 0.02
        assert away.max() < 0.2


def ask(policy, calls):
    async def gather():
        return await asyncio.gather(
            *(policy.sample(user("q" * (5 * i % 61)), Sampling(3 + 7 * i % 40), id=str(i), seed=i, role="solver") for i in calls)
        )

    return asyncio.run(gather())


def exact(policy, traces):
    for t in traces:
        np.testing.assert_allclose(t.logp[t.start :], plain_logp(policy, t)[t.start :], atol=1e-4)


def test_rows_join_and_leave_and_a_new_version_compiles_nothing(folder):
    """Sampled log-probabilities are those of a fresh forward pass while rows, columns, blocks and versions change."""
    sizes = set()

    class Watched(Steps):
        def __call__(self, weights, cache, *given):
            found = super().__call__(weights, cache, *given)
            sizes.update((rows, cache.columns) for rows in self._made)
            return found

    policy = with_ends(Decoder.read(folder))
    policy.engine = Engine(policy.fused, policy.chat, max_rows=40, steps=Watched("aot_eager"))
    exact(policy, ask(policy, range(3)))
    with torch.compiler.set_stance("fail_on_recompile"):
        exact(policy, ask(policy, range(90))[::7])
        with torch.no_grad():
            for _, p in policy.trained():
                p.mul_(0.9)
        policy.after_step({})
        traces = ask(policy, range(90, 150))
        assert {v for t in traces for v in t.version[t.start :]} == {1}
        exact(policy, traces[::7])
    assert {rows for rows, _ in sizes} == {16, 32, 40}
    assert len({columns for _, columns in sizes}) > 1


def test_the_draws_are_those_of_the_other_steps(folder):
    policy = with_ends(Decoder.read(folder))
    usual = ask(policy, range(60))
    policy.engine = Engine(policy.fused, policy.chat, max_rows=24, steps=Steps(None))
    found = ask(policy, range(60))
    assert sum(a.tokens == b.tokens for a, b in zip(usual, found, strict=True)) >= 58  # a draw may fall on an edge


def test_where_nothing_can_be_compiled_one_line_says_so(folder, caplog):
    def broken(graph, inputs):
        raise RuntimeError("no compiler here")

    policy = with_ends(Decoder.read(folder))
    with caplog.at_level(logging.WARNING, "journeyman"):
        for _ in range(2):
            policy.engine = Engine(policy.fused, policy.chat, steps=Steps(broken))
            exact(policy, ask(policy, range(4)))
    (line,) = [r.getMessage() for r in caplog.records if r.name == "journeyman.policies.graphs"]
    assert line.startswith("going on without compiled steps: ")
    assert "no compiler here" in line
