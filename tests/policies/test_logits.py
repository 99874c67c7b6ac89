"""``forward.logits``: the distributions of which ``logp`` and ``entropy`` tell something, from every policy and on every path."""

from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from journeyman.policies import HF, Decoder, decoder_policy, lora
from journeyman.policies.chat import Chat
from journeyman.protocols import words
from tests.policies.conftest import VOCAB, byte_tokenizer
from tests.policies.test_policy import batch_of

ALL = words("forward.logits", "forward.logp", "forward.entropy")


@pytest.fixture(params=["packed", "row by row", "adapters", "transformers"])
def policy(request, folder, monkeypatch):
    """A policy of each kind, and each of the decoder's two paths."""
    if request.param == "transformers":
        torch.manual_seed(0)
        shape = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 96, "initializer_range": 0.4}
        model = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=None, eos_token_id=256))
        return HF(model, Chat(byte_tokenizer(), (256,), VOCAB))
    if request.param == "row by row":
        monkeypatch.setattr(decoder_policy, "usable", lambda model: None)
    made = Decoder.read(folder)
    return lora(made, 2) if request.param == "adapters" else made


def test_logits_are_those_of_logp_and_entropy(policy):
    batch = batch_of()
    out = policy.forward(batch, ALL)
    assert out["logits"].shape == (*batch.tokens.shape, VOCAB)
    assert out["logits"].dtype == torch.float32
    each = out["logits"].log_softmax(-1)
    logp = each.gather(2, batch.tokens[..., None])[..., 0]
    at = batch.train
    torch.testing.assert_close(logp[at], out["logp"][at], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(-(each.exp() * each).sum(-1)[at], out["entropy"][at], atol=1e-5, rtol=1e-5)
    assert not out["logits"][~at].any()
    assert out["logits"][at].std() > 0.1


def test_the_lessons_temperature_divides_them(policy):
    one, other = (policy.forward(batch_of(temperature=t), words("logits"))["logits"] for t in ((1.0, 1.0, 0.0), (0.5, 1.0, 1.0)))
    torch.testing.assert_close(other[0], 2 * one[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(other[1:], one[1:], atol=1e-5, rtol=1e-5)


def test_gradients_through_logits_are_those_of_logp(policy):
    batch = batch_of()
    weight = torch.randn(batch.tokens.shape, generator=torch.Generator().manual_seed(1))

    def gradients(logp):
        return torch.autograd.grad((logp * weight * batch.train).sum(), [p for _, p in policy.trained()], allow_unused=True)

    logits = policy.forward(batch, words("forward.logits"))["logits"]
    ours = gradients(logits.log_softmax(-1).gather(2, batch.tokens[..., None])[..., 0])
    expected = gradients(policy.forward(batch, words("forward.logp"))["logp"])
    assert any(b is not None and b.abs().max() > 0 for b in expected)
    for a, b in zip(ours, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_chunks_of_rows_without_a_gradient_change_nothing(policy):
    batch = batch_of()
    expected = policy.forward(batch, ALL)
    with torch.no_grad():
        found = policy.forward(batch, ALL)
    for name, x in found.items():
        torch.testing.assert_close(x, expected[name].detach(), atol=1e-5, rtol=1e-5)


def test_nothing_trained_gives_zeros_that_are_joined_to_the_weights(policy):
    batch = batch_of()
    out = policy.forward(replace(batch, train=torch.zeros_like(batch.train)), words("forward.logits"))["logits"]
    assert not out.any()
    out.sum().backward()
    assert all(p.grad is None or not p.grad.any() for _, p in policy.trained())
