"""The compiled kernels for learning, the packed forward pass and the choice of products: same numbers as torch, gradients too."""

import asyncio
import platform
import random
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from journeyman.batch import collate
from journeyman.policies import compiled, decoder, decoder_policy, kernels, packed, products, scoring
from journeyman.policies.decoder import Architecture, CausalLM
from journeyman.policies.load import BASE, load_policy
from journeyman.protocols import words
from journeyman.types import Lesson, Sampling

needs_compiler = pytest.mark.skipif(kernels.compiler() is None, reason="no C++ compiler on this machine")
pytestmark = needs_compiler


@pytest.fixture
def plain(monkeypatch):
    """Call it to go on without the kernels."""

    def off() -> None:
        for module in (compiled, decoder, packed):
            monkeypatch.setattr(module, "fast", lambda x: None)

    return off


def gradients(work, *inputs):
    """Outputs of ``work`` and the gradients of a fixed random projection of them."""
    leaves = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    out = work(*leaves)
    source = torch.Generator().manual_seed(1)
    out = out if isinstance(out, tuple) else (out,)
    sum((o * torch.randn(o.shape, generator=source)).sum() for o in out).backward()
    return [o.detach() for o in out], [x.grad for x in leaves if x.grad is not None]


def assert_same(a, b, tolerance=2e-5):
    for one, other in zip([*a[0], *a[1]], [*b[0], *b[1]], strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max())), (one - other).abs().max()


@pytest.mark.parametrize("width", [1, 7, 160, 1000])
def test_rms_norm(width):
    use, x, w = kernels.load(), torch.randn(5, 33, width), torch.randn(width)
    x[0, 0] = 0  # eps keeps it finite
    ours = gradients(lambda x, w: compiled.RmsNorm.apply(use, x, w, 1e-6), x, w)
    assert_same(ours, gradients(lambda x, w: F.rms_norm(x, (width,), w, 1e-6), x, w), 1e-4 if width == 1 else 2e-5)


@pytest.mark.parametrize("width", [1, 31, 480])
def test_swiglu(width):
    use, x = kernels.load(), 10 * torch.randn(50, 2 * width)
    ours = gradients(lambda x: compiled.SwiGlu.apply(use, x), x)
    assert_same(ours, gradients(lambda x: F.silu(x[:, :width]) * x[:, width:], x))


@pytest.mark.parametrize("vocab", [2, 1000, 5003])
def test_log_prob_and_entropy(vocab, plain):
    logits, tokens = 5 * torch.randn(40, vocab), torch.randint(0, vocab, (40,))
    logits[3, 1] = -1e4  # nearly impossible
    logits[4, : vocab // 2] = -torch.inf  # masked
    tokens[4] = vocab - 1
    heat = torch.rand(40) + 0.3

    def work(z):
        logp, entropy = compiled.log_prob(z, tokens, heat)
        return logp, entropy[:4], entropy[5:]  # torch gives NaN for the entropy of a masked row

    ours = gradients(work, logits)
    assert torch.isfinite(compiled.log_prob(logits, tokens, heat)[1]).all()
    plain()
    theirs = gradients(lambda z: work(z.clamp_min(-1e4)), logits)
    assert_same(ours, theirs, 1e-4)


def test_a_row_that_is_not_finite_is_seen():
    logits = torch.zeros(3, 8)
    logits[1, 2] = torch.nan
    logp, _ = compiled.log_prob(logits, torch.zeros(3, dtype=torch.long), torch.ones(3))
    assert torch.isfinite(logp).tolist() == [True, False, True]


def lessons(seed: int, groups: int = 5, siblings: int = 4) -> list[Lesson]:
    """Groups with one prompt each, answers of any length (none, too) with holes in what is trained, one trained throughout."""
    source = random.Random(seed)
    found = []
    for g in range(groups):
        prompt = [source.randrange(4, 70) for _ in range(source.randint(1, 30))]
        for _ in range(siblings):
            answer = [source.randrange(4, 70) for _ in range(source.randint(0, 40))]
            train = [False] * len(prompt) + [source.random() < 0.8 for _ in answer]
            found.append(Lesson(tuple(prompt + answer), tuple(train), tuple(map(float, train)), group=str(g)))
    tokens = tuple(source.randrange(4, 70) for _ in range(9))
    return [*found, Lesson(tokens, (True,) * 9, (1.0,) * 9)]


def model(family: str, bias: bool) -> CausalLM:
    shape = {"vocab_size": 70, "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2, "head_dim": 16}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "attention_bias": bias, "mlp_bias": bias}
    made = CausalLM(Architecture.of({"model_type": family, **shape, **heads}))
    made.initialise(0, 0.2)
    for p in made.parameters():
        if p.dim() == 1:
            p.data.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(2)))
    return made


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("family", ["qwen3", "llama", "qwen2"])
@pytest.mark.parametrize("seed", [0, 1])
def test_packed_is_row_by_row(family, bias, seed, plain):
    net = model(family, bias)
    batch = collate(lessons(seed), {})
    real = torch.arange(batch.tokens.shape[1]) < batch.lengths[:, None]

    def run(read):
        net.zero_grad()
        want = words("forward.logp", "forward.entropy", "forward.hidden")
        out = scoring.forward(read, net.logits, 70, batch, want, len(batch.tokens))
        slope = torch.linspace(-1, 1, batch.tokens.shape[1])
        states = (out["hidden"] * real[..., None]).square().sum()
        ((out["logp"] * slope + 0.3 * out["entropy"]) * batch.train).sum().add(0.01 * states).backward()
        kept = [out["logp"].detach(), out["entropy"].detach(), out["hidden"].detach() * real[..., None]]
        return kept, [p.grad.clone() for p in net.parameters()]

    def read(tokens, train, lengths):
        distinct, places, where = packed.pack(tokens, train, lengths)
        assert len(distinct) < int(lengths.sum())  # siblings do share
        return packed.states(net, kernels.load(), distinct, places), where

    ours = run(read)
    plain()
    assert_same(ours, run(scoring.row_by_row(net.hidden)), 1e-4)


def test_what_is_packed():
    tokens = torch.tensor([[5, 6, 7, 8], [5, 6, 9, 0], [5, 6, 7, 8], [1, 0, 0, 0]])
    train = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]).bool()
    distinct, places, where = packed.pack(tokens, train, torch.tensor([4, 3, 4, 1]))
    # rows 0 and 1 share 5 6; row 2 is trained from its fourth token on, so that its beginning is another one
    assert distinct.tolist() == [5, 6, 7, 8, 9, 5, 6, 7, 8, 1]
    assert where[1].tolist() == [0, 1, 4, 0]
    assert where[2].tolist() == [5, 6, 7, 8]
    assert places.positions.tolist() == [0, 1, 2, 3, 2, 0, 1, 2, 3, 0]
    assert [places.slots[places.offsets[n] : places.offsets[n + 1]].tolist() for n in (0, 1, 2)] == [[0, 4], [1, 5], [2]]


def test_the_policy_goes_packed_and_an_adapter_too(monkeypatch, plain):
    from journeyman.policies.lora import lora

    calls = []
    pack = packed.pack
    monkeypatch.setattr(decoder_policy, "pack", lambda *a: calls.append(1) or pack(*a))
    batch = collate(lessons(3), {})
    for policy in (load_policy(BASE, device="cpu"), lora(load_policy(BASE, device="cpu"))):
        ours = policy.forward(batch, words("forward.logp"))["logp"]
        assert calls.pop()
        with monkeypatch.context() as patch:
            patch.setattr(decoder_policy, "usable", lambda model: None)
            assert torch.allclose(ours, policy.forward(batch, words("forward.logp"))["logp"], atol=1e-4)
        assert not calls


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


def test_int8_products_are_near_and_exact_in_whole_numbers():
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_freed_memory_is_kept():
    """Making and dropping 16 MiB again and again takes pages from the system once, not each time; who has set glibc's thresholds
    keeps them."""
    code = """
import resource, torch
from journeyman.policies.allocator import keep_freed_memory
print(keep_freed_memory())
for _ in range(10): torch.ones(1 << 22)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): torch.ones(1 << 22)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {}
    for own in (False, True):
        env = {"MALLOC_TRIM_THRESHOLD_": "131072"} if own else {}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=120)
        kept, count = done.stdout.split()
        assert kept == str(not own)
        faults[own] = int(count)
    assert faults[False] < faults[True] / 4


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
def test_what_lies_free_between_kept_blocks_is_given_back():
    code = """
import os, torch
from journeyman.policies.allocator import give_back, keep_freed_memory
def resident(): return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
keep_freed_memory()
blocks = [torch.ones(1 << 20) for _ in range(100)]  # 400 MiB
last = blocks.pop()
del blocks
kept = resident()
give_back()
print(kept, resident())
"""
    done = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True, timeout=120)
    kept, left = map(float, done.stdout.split())
    assert kept - left > 300
