"""Adapters: PEFT's files, what trains, sampling, merging."""

import asyncio

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from journeyman.policies import Decoder, load_policy, lora, read_lora
from journeyman.types import Sampling, user
from tests.policies.conftest import VOCAB, small

# peft 0.21 still reads a property that transformers 5 calls deprecated
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
TOKENS = torch.randint(0, VOCAB, (2, 30), generator=torch.Generator().manual_seed(1))


def sample(policy, seed=0):
    return asyncio.run(policy.sample(user("hello"), Sampling(max_tokens=12), id="a", seed=seed, role="solver"))


def trained(policy):
    """Move the adapters away from zero."""
    with torch.no_grad():
        for i, (_, p) in enumerate(policy.trained()):
            p.add_(0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(i)))
    policy.after_step({})
    return policy


@pytest.mark.parametrize(
    ("targets", "stabilised"), [(["q_proj", "down_proj"], False), (["k_proj", "v_proj", "o_proj", "gate_proj", "up_proj"], True)]
)
def test_an_adapter_that_peft_wrote_gives_the_same_logits(folder, tmp_path, targets, stabilised):
    config = LoraConfig(
        r=3, lora_alpha=7, target_modules=targets, task_type="CAUSAL_LM", init_lora_weights=False, use_rslora=stabilised
    )
    theirs = get_peft_model(small("qwen3"), config).eval()
    theirs.save_pretrained(tmp_path)
    ours = read_lora(tmp_path, Decoder.read(folder))
    with torch.no_grad():
        expected = theirs(TOKENS).logits
        torch.testing.assert_close(ours.model(TOKENS), expected, atol=1e-4, rtol=0)
        assert (Decoder.read(folder).model(TOKENS) - expected).abs().max() > 0.1, "the adapter does nothing"


def test_peft_reads_an_adapter_that_we_wrote(folder, tmp_path):
    ours = trained(lora(Decoder.read(folder), 4, alpha=12.0, seed=1, base=str(folder)))
    ours.save(tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(small("qwen3"), tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(TOKENS).logits, ours.model(TOKENS), atol=1e-4, rtol=0)
    again = load_policy(tmp_path / "adapter", device="cpu")
    assert sample(again).tokens == sample(ours).tokens
    with pytest.raises(ValueError, match="holds adapters already"):
        load_policy(tmp_path / "adapter", lora=2)


def test_only_adapters_train_and_the_base_is_shared(folder):
    base = Decoder.read(folder)
    policy = load_policy(folder, device="cpu", lora=2, seed=3)
    names = [name for name, _ in policy.trained()]
    assert len(names) == 3 * 7 * 2
    assert all(".lora_A." in n or ".lora_B." in n for n in names)
    assert sample(policy).tokens == sample(base).tokens, "a fresh adapter changes nothing"
    adapted = lora(base, 2)
    weight = dict(base.model.named_parameters())["model.layers.0.mlp.up_proj.weight"]
    assert weight.requires_grad
    assert adapted.model.model.layers[0].mlp.up_proj.weight.data_ptr() == weight.data_ptr()
    torch.nn.functional.cross_entropy(adapted.model(TOKENS)[:, :-1].flatten(0, 1), TOKENS[:, 1:].flatten()).backward()
    assert all(p.grad is not None for _, p in adapted.trained())
    assert weight.grad is None


def test_frozen_is_the_base_with_adapters_off(folder):
    base = Decoder.read(folder)
    policy = trained(lora(base, 2))
    reference = policy.frozen()
    assert not list(reference.trained())
    with torch.no_grad():
        torch.testing.assert_close(reference.model(TOKENS), base.model(TOKENS), atol=0, rtol=0)
        assert (policy.model(TOKENS) - base.model(TOKENS)).abs().max() > 0.1
    assert reference.model.head.data_ptr() == base.model.head.data_ptr()


def test_sampling_uses_the_adapters_of_each_version(folder):
    policy = lora(Decoder.read(folder), 4)
    before = sample(policy)
    trace = sample(trained(policy))
    assert trace.tokens != before.tokens
    expected = asyncio.run(policy.logp(trace.tokens))
    assert trace.logp[trace.start :] == pytest.approx(expected[trace.start :], abs=1e-4)


def test_merged_is_a_plain_model(folder, tmp_path):
    policy = trained(lora(Decoder.read(folder), 4))
    policy.save(tmp_path, merged=True)
    with torch.no_grad():
        torch.testing.assert_close(Decoder.read(tmp_path).model(TOKENS), policy.model(TOKENS), atol=1e-4, rtol=0)


def test_weights_of_adapters_are_put_back(folder):
    policy = trained(lora(Decoder.read(folder), 4))
    kept = {n: w.clone() for n, w in policy.weights().items()}
    tokens = sample(policy).tokens
    trained(policy)
    policy.load_weights(kept, 3)
    assert sample(policy).tokens == tokens


def test_refusals(folder, tmp_path):
    policy = lora(Decoder.read(folder), 2)
    with pytest.raises(ValueError, match="already has adapters"):
        lora(policy, 2)
    with pytest.raises(ValueError, match="rank is 0"):
        lora(Decoder.read(folder), 0)
    with pytest.raises(ValueError, match="targets are lm_head"):
        lora(Decoder.read(folder), 2, targets=("lm_head",))
    with pytest.raises(ValueError, match=r"no adapter_config\.json"):
        read_lora(tmp_path, Decoder.read(folder))
    get_peft_model(small("qwen3"), LoraConfig(r=2, target_modules=["q_proj"], use_dora=True)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="use_dora is True"):
        read_lora(tmp_path, Decoder.read(folder))
