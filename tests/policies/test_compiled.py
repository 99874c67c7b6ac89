"""The compiled kernels for learning and the packed forward pass: same numbers as torch, gradients too."""

import random

import pytest
import torch
from torch.nn import functional as F

from journeyman.batch import collate
from journeyman.policies import compiled, decoder, decoder_policy, kernels, packed, scoring
from journeyman.policies.decoder import Architecture, CausalLM
from journeyman.policies.load import BASE, load_policy
from journeyman.protocols import words
from journeyman.types import Lesson
from tests.policies.gradients import assert_same, gradients

pytestmark = pytest.mark.skipif(kernels.compiler() is None, reason="no C++ compiler on this machine")


@pytest.fixture
def plain(monkeypatch):
    """Call it to go on without the kernels."""

    def off() -> None:
        for module in (compiled, decoder, packed):
            monkeypatch.setattr(module, "fast", lambda x: None)

    return off


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
