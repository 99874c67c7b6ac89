"""The decoder as a policy: rendering, continuing, learning, snapshots."""

import asyncio
import json
import shutil

import pytest
import torch

from journeyman.batch import collate
from journeyman.policies import HF, Decoder, load_policy
from journeyman.policies.chat import Chat
from journeyman.protocols import Policy, words
from journeyman.types import Lesson, Sampling, user
from tests.policies.conftest import VOCAB, byte_tokenizer, small

S = Sampling(max_tokens=10)
TALK = ({"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "It is 4."})


def sample(policy, prompt, sampling=S, seed=0):
    return asyncio.run(policy.sample(prompt, sampling, id="a", seed=seed, role="solver"))


def extend(policy, trace, text="", turn=(), sampling=S):
    return asyncio.run(policy.extend(trace, text, turn, sampling, id="a/1", seed=9, role="critic"))


# ---------------------------------------------------------------------------------------- rendering


def test_render_masks_the_answer_and_its_end(policy):
    tokens, mask = policy.render(TALK)
    tokenizer = policy.chat.tokenizer
    assert list(tokens) == tokenizer.apply_chat_template([dict(m) for m in TALK], return_dict=False)
    own = [t for t, m in zip(tokens, mask, strict=True) if m]
    assert tokenizer.decode(own) == "It is 4.<|end|>"
    cue, none = policy.render(TALK[:1])
    assert tokenizer.decode(cue) == "<|user|>2+2?<|end|>\n<|assistant|>"
    assert not any(none)
    assert tokens[: len(cue)] == cue


def test_a_tokenizer_without_a_template_gets_the_plain_one():
    chat = Chat(byte_tokenizer(template=None))
    tokens, mask = chat.render(TALK)
    assert chat.tokenizer.decode(tokens) == "user:\n2+2?<|end|>\nassistant:\nIt is 4.<|end|>\n"
    assert chat.decode([t for t, m in zip(tokens, mask, strict=True) if m]) == "It is 4."
    assert chat.tokenizer.decode(chat.turn(tokens[:-1], user("sure?"))) == "\nuser:\nsure?<|end|>\nassistant:\n"


def test_templates_that_cannot_be_trained_on_are_refused():
    rewriting = "{% for m in messages %}{{ m['role'] }}{{ messages|length }}{{ m['content'] }}{% endfor %}"
    with pytest.raises(ValueError, match="no prefix"):
        Chat(byte_tokenizer(rewriting)).render(TALK)
    with pytest.raises(ValueError, match="does not show an assistant"):
        Chat(byte_tokenizer("{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"))
    bare = byte_tokenizer(template=None)
    bare.eos_token = None
    with pytest.raises(ValueError, match="no chat template and no end token"):
        Chat(bare)


def test_render_needs_a_prompt(policy):
    with pytest.raises(ValueError, match="only message is the assistant's"):
        policy.render(TALK[1:])
    with pytest.raises(ValueError, match="at least one message"):
        policy.render(())


# ---------------------------------------------------------------------------------------- continuing


def test_extend_appends_and_rerenders_nothing(policy):
    first = sample(policy, user("hello"), Sampling(max_tokens=6))
    assert first.stop_reason == "length"
    second = extend(policy, first, text=" so", turn=user("sure?"))
    added = second.tokens[len(first.tokens) : len(second.tokens) - second.sampled_tokens]
    assert policy.chat.tokenizer.decode(added) == " so<|end|>\n<|user|>sure?<|end|>\n<|assistant|>"
    assert second.tokens[: len(first.tokens)] == first.tokens
    assert second.sampled[: len(first.tokens)] == first.sampled
    assert second.logp[: len(first.tokens)] == first.logp
    assert (second.start, second.parent, second.role) == (len(second.tokens) - second.sampled_tokens, "a", "critic")
    assert sum(second.sampled[second.start :]) == second.sampled_tokens
    assert second.prompt_tokens == len(added)
    expected = asyncio.run(policy.logp(second.tokens))
    for drawn, a, b in zip(second.sampled, second.logp, expected, strict=True):
        assert a == pytest.approx(b if drawn else 0.0, abs=1e-4)


def test_extend_after_a_drawn_end_does_not_close_twice(policy):
    first = sample(policy, user("hello"), Sampling(max_tokens=4))
    ended = type(first)(**{**first.__dict__, "tokens": (*first.tokens[:-1], 256)})
    second = extend(policy, ended, turn=user("go"))
    added = second.tokens[len(ended.tokens) : len(second.tokens) - second.sampled_tokens]
    assert policy.chat.tokenizer.decode(added) == "\n<|user|>go<|end|>\n<|assistant|>"


def test_a_split_sample_is_the_whole_sample(policy):
    whole = sample(policy, user("hello"), Sampling(max_tokens=12, temperature=0.0))
    half = sample(policy, user("hello"), Sampling(max_tokens=5, temperature=0.0))
    rest = extend(policy, half, sampling=Sampling(max_tokens=7, temperature=0.0))
    assert rest.tokens == whole.tokens
    assert half.text + rest.text == whole.text


def test_a_trace_without_tokens_cannot_be_extended(policy):
    first = sample(policy, user("hello"))
    with pytest.raises(ValueError, match="holds no tokens"):
        extend(policy, type(first)(id="a", text="words"))


# ---------------------------------------------------------------------------------------- learning


def batch_of(seed=0, temperature=(1.0, 0.7, 0.0)):
    source = torch.Generator().manual_seed(seed)
    lessons = []
    for length, warm in zip((14, 9, 21), temperature, strict=True):
        tokens = tuple(torch.randint(0, VOCAB, (length,), generator=source).tolist())
        lessons.append(Lesson(tokens, (False,) * 4 + (True,) * (length - 4), (1.0,) * length, temperature=warm))
    return collate(lessons, {})


def literal(policy, batch):
    """logp and entropy through a whole (B, T, V) log-softmax."""
    warm = torch.where(batch.temperature > 0, batch.temperature, 1.0)[:, None, None]
    each = torch.log_softmax(policy.model(batch.tokens)[:, :-1] / warm, -1)
    logp = torch.zeros(batch.tokens.shape)
    logp[:, 1:] = each.gather(2, batch.tokens[:, 1:, None])[..., 0]
    entropy = torch.zeros(batch.tokens.shape)
    entropy[:, 1:] = -(each.exp() * each).sum(-1)
    return logp * batch.train, entropy * batch.train


def test_forward_and_its_gradient_equal_the_plain_log_softmax(policy):
    batch = batch_of()
    weight = torch.randn(batch.tokens.shape, generator=torch.Generator().manual_seed(1))
    out = policy.forward(batch, words("forward.logp", "forward.entropy", "forward.hidden"))
    expected = literal(policy, batch)
    torch.testing.assert_close(out["logp"], expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(out["entropy"], expected[1], atol=1e-5, rtol=1e-5)
    assert out["hidden"].shape == (3, 21, 32)
    gradients = []
    for logp, entropy in ((out["logp"], out["entropy"]), expected):
        policy.model.zero_grad()
        ((logp + 0.3 * entropy) * weight).sum().backward(retain_graph=True)
        gradients.append([p.grad.clone() for _, p in policy.trained()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
        assert b.abs().max() > 0
    with torch.no_grad():
        torch.testing.assert_close(policy.forward(batch, words("logp"))["logp"], out["logp"].detach(), atol=1e-5, rtol=0)


def test_forward_refuses_what_it_cannot_give(policy):
    with pytest.raises(ValueError, match="cannot give value"):
        policy.forward(batch_of(), words("forward.logp", "forward.value"))
    with pytest.raises(ValueError, match="no head 'value'"):
        asyncio.run(policy.evaluate((1, 2), "value"))
    with pytest.raises(ValueError, match="no embeddings"):
        asyncio.run(policy.embed("x"))


def test_a_lesson_without_trained_tokens_has_a_zero_gradient(policy):
    batch = collate([Lesson((1, 2, 3), (False,) * 3, (0.0,) * 3)], {})
    policy.forward(batch, words("forward.logp"))["logp"].sum().backward()
    assert all(p.grad is None or not p.grad.any() for _, p in policy.trained())


def test_logp_of_many_sequences_at_once(policy):
    sequences = [tuple(torch.randint(0, VOCAB, (n,)).tolist()) for n in (1, 5, 40, 12)]

    async def main():
        return await asyncio.gather(*(p.logp(s) for p in (policy, policy.snapshot()) for s in sequences))

    found = asyncio.run(main())
    for s, a, b in zip(sequences, found[:4], found[4:], strict=True):
        with torch.no_grad():
            each = torch.log_softmax(policy.model(torch.tensor([s])), -1)[0]
        expected = (0.0, *(each[i, s[i + 1]].item() for i in range(len(s) - 1)))
        assert a == pytest.approx(expected, abs=1e-4)
        assert b == pytest.approx(expected, abs=1e-4)


def shift(policy):
    with torch.no_grad():
        for _, p in policy.trained():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(4)))
    policy.after_step({})


def test_snapshots_and_frozen_copies_stay_when_the_weights_move(policy):
    before = sample(policy, user("hello"))
    view, reference = policy.snapshot(), policy.frozen()
    assert policy.snapshot() is view
    shift(policy)
    after = sample(policy, user("hello"))
    assert (after.version[-1], policy.version, view.version) == (1, 1, 0)
    assert after.tokens != before.tokens
    assert sample(view, user("hello")) == before
    assert sample(reference, user("hello")).tokens == before.tokens
    assert not list(reference.trained())
    assert policy.snapshot() is not view


def test_weights_are_put_back_with_their_version(policy):
    kept = {name: w.clone() for name, w in policy.weights().items()}
    before = sample(policy, user("hello"))
    shift(policy)
    policy.load_weights(kept, 7)
    assert policy.version == 7
    assert sample(policy, user("hello")).tokens == before.tokens
    with pytest.raises(ValueError, match="only one of the two"):
        policy.load_weights({}, 0)
    with pytest.raises(ValueError, match=r"has shape \(3,\)"):
        policy.load_weights(kept | {"model.norm.weight": torch.ones(3)}, 0)


def test_what_was_learned_is_saved(policy, tmp_path):
    shift(policy)
    policy.save(tmp_path)
    assert sample(Decoder.read(tmp_path), user("hello")).tokens == sample(policy, user("hello")).tokens
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["Qwen3ForCausalLM"]
    assert not list(tmp_path.glob("*.tmp"))


def test_parameters_counts_what_a_token_passes_through(folder, tmp_path, tokenizer):
    tied = Decoder.read(folder)
    assert tied.parameters == sum(p.numel() for p in tied.model.parameters())
    small("llama", tied=False).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    untied = Decoder.read(tmp_path)
    assert untied.parameters == sum(p.numel() for p in untied.model.parameters()) - VOCAB * 32


# ---------------------------------------------------------------------------------------- loading


def test_load_policy_chooses_by_architecture(folder, tmp_path):
    assert isinstance(load_policy(folder, device="cpu"), Decoder)
    edited = shutil.copytree(folder, tmp_path / "gemma")
    config = json.loads((edited / "config.json").read_text())
    (edited / "config.json").write_text(json.dumps({**config, "model_type": "mistral", "architectures": ["MistralForCausalLM"]}))
    with pytest.raises(ValueError, match="adapters are for"):
        load_policy(edited, lora=4)
    small("llama").save_pretrained(tmp_path / "hf")
    byte_tokenizer().save_pretrained(tmp_path / "hf")
    assert isinstance(HF.read(tmp_path / "hf"), HF)


def test_load_policy_says_what_to_write(folder, tmp_path):
    with pytest.raises(ValueError, match="does not exist; write 'base'"):
        load_policy(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no config\.json"):
        load_policy(tmp_path)
    with pytest.raises(ValueError, match="dtype is 'int4'"):
        load_policy(folder, dtype="int4")
    assert load_policy(folder, device="cpu", dtype="bfloat16").model.head.dtype == torch.bfloat16


def test_sixteen_bit_weights_sample(folder):
    policy = Decoder.read(folder, dtype=torch.bfloat16)
    trace = sample(policy, user("hello"), Sampling(max_tokens=20))
    expected = asyncio.run(policy.logp(trace.tokens))
    assert trace.logp[trace.start :] == pytest.approx(expected[trace.start :], abs=0.5)


def test_every_policy_fits_the_seam(policy, folder):
    for each in (policy, policy.snapshot(), policy.frozen(), HF.read(folder)):
        assert isinstance(each, Policy)
        assert "tokens" in each.gives
