"""The policy over any transformers model."""

import asyncio

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from journeyman.batch import collate
from journeyman.policies import HF, Decoder, load_policy
from journeyman.protocols import words
from journeyman.types import Lesson, Sampling, user
from tests.policies.conftest import VOCAB


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory, tokenizer):
    path = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=2, n_positions=96, initializer_range=0.4, bos_token_id=None, eos_token_id=256
    )
    GPT2LMHeadModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def policy(gpt2):
    found = load_policy(gpt2, device="cpu")
    assert isinstance(found, HF)
    return found


def run(*calls):
    async def main():
        return await asyncio.gather(*calls)

    return asyncio.run(main())


def ask(policy, text, seed=0, id="a", **settings):
    return policy.sample(user(text), Sampling(**{"max_tokens": 12, **settings}), id=id, seed=seed, role="solver")


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.8), (0.0, 1.0)])
def test_sampled_logp_is_exact_and_draws_do_not_depend_on_the_batch(policy, temperature, top_p):
    warm = {"temperature": temperature, "top_p": top_p}
    together = run(*(ask(policy, "q" * (1 + 3 * i), seed=i, max_tokens=4 + 2 * i, **warm) for i in range(8)))
    for i, t in enumerate(together):
        assert run(ask(policy, "q" * (1 + 3 * i), seed=i, max_tokens=4 + 2 * i, **warm))[0].tokens == t.tokens
        with torch.no_grad():
            each = torch.log_softmax(policy.model(torch.tensor([t.tokens])).logits[0] / (temperature or 1.0), -1)
        expected = [each[j - 1, t.tokens[j]].item() for j in range(t.start, len(t.tokens))]
        assert t.logp[t.start :] == pytest.approx(expected, abs=1e-4)


def test_the_decoder_and_transformers_draw_alike(folder):
    traces = [run(*(ask(p, "hello", seed=i) for i in range(4))) for p in (Decoder.read(folder), HF.read(folder))]
    assert [t.tokens for t in traces[0]] == [t.tokens for t in traces[1]]


def test_ends_stops_context_and_cancellation(policy):
    policy.chat.ends = frozenset()
    t = run(ask(policy, "h" * 60, max_tokens=90))[0]
    assert (t.stop_reason, len(t.tokens)) == ("context", 96)
    text = run(ask(policy, "hi", seed=2))[0].text
    mark = next(c for c in text[3:] if c != "\ufffd")
    stopped = run(ask(policy, "hi", seed=2, stop=(mark,)))[0]
    assert (stopped.stop_reason, stopped.text) == ("stop", text[: text.index(mark) + 1])

    async def main():
        first = asyncio.create_task(ask(policy, "a", max_tokens=60, id="one"))
        second = asyncio.create_task(ask(policy, "b", max_tokens=20))
        for _ in range(8):
            await asyncio.sleep(0)
        first.cancel()
        return await asyncio.gather(first, second, return_exceptions=True)

    gone, kept = asyncio.run(main())
    assert isinstance(gone, asyncio.CancelledError)
    assert kept.sampled_tokens == 20
    assert 0 < policy.abandoned("one")[1] < 60
    with pytest.raises(ValueError, match="context holds 96"):
        run(ask(policy, "h" * 100))


def test_forward_learns_and_saves(policy, tmp_path):
    lesson = Lesson((5, 9, 2, 7), (False, True, True, True), (1.0,) * 4, temperature=0.5)
    batch = collate([lesson, Lesson((5, 9), (False, True), (1.0,) * 2)], {})
    out = policy.forward(batch, words("forward.logp", "forward.entropy", "forward.hidden"))
    with torch.no_grad():
        each = torch.log_softmax(policy.model(torch.tensor([lesson.tokens])).logits[0] / 0.5, -1)
    assert out["logp"][0].tolist() == pytest.approx([0.0, *(each[i, lesson.tokens[i + 1]].item() for i in range(3))], abs=1e-4)
    assert out["hidden"].shape == (2, 4, 32)
    view, before = policy.snapshot(), {n: w.clone() for n, w in policy.weights().items()}
    old = run(ask(policy, "hello"))[0]
    (-out["logp"].sum()).backward()
    with torch.no_grad():
        for _, p in policy.trained():
            p -= 0.1 * p.grad
    policy.after_step({})
    new = run(ask(policy, "hello"))[0]
    assert new.tokens != old.tokens
    assert new.version[-1] == 1
    assert run(ask(view, "hello"))[0].tokens == old.tokens
    policy.save(tmp_path)
    assert run(ask(HF.read(tmp_path), "hello"))[0].tokens == new.tokens
    policy.load_weights(before, 0)
    assert run(ask(policy, "hello"))[0].tokens == old.tokens


def test_extend_and_logp(policy):
    first = run(ask(policy, "hello", max_tokens=5))[0]
    second = run(policy.extend(first, "", user("sure?"), Sampling(max_tokens=5), id="b", seed=1, role="solver"))[0]
    assert second.tokens[: len(first.tokens)] == first.tokens
    expected = run(policy.logp(second.tokens))[0]
    for drawn, a, b in zip(second.sampled, second.logp, expected, strict=True):
        assert a == pytest.approx(b if drawn else 0.0, abs=1e-4)
