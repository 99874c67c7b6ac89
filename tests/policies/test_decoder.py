"""The model against transformers, and model folders."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from journeyman.policies import Decoder
from tests.policies.conftest import VOCAB, byte_tokenizer, small

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
KINDS = [
    ("qwen3", {"tied": True}),
    ("qwen3", {"tied": False, "attention_bias": True}),
    ("llama", {"tied": True}),
    ("llama", {"tied": False, "num_key_value_heads": 4, "attention_bias": True, "mlp_bias": True}),
    ("llama", {"rope_parameters": LLAMA3}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0}, "head_dim": 12}),
    ("qwen2", {"tied": False}),
]


@pytest.mark.parametrize(("kind", "more"), KINDS)
def test_logits_equal_transformers_and_survive_a_round_trip(tmp_path, tokenizer, kind, more):
    theirs = small(kind, **more)
    theirs.save_pretrained(tmp_path / "a")
    tokenizer.save_pretrained(tmp_path / "a")
    ours = Decoder.read(tmp_path / "a")
    tokens = torch.randint(0, VOCAB, (3, 60))
    with torch.no_grad():
        expected = theirs(tokens).logits
        assert expected.std() > 0.5, "a flat model would prove nothing"
        torch.testing.assert_close(ours.model(tokens), expected, atol=1e-4, rtol=0)
        ours.save(tmp_path / "b")
        back, notes = AutoModelForCausalLM.from_pretrained(tmp_path / "b", output_loading_info=True)
        assert not notes["missing_keys"]
        assert not notes["unexpected_keys"]
        torch.testing.assert_close(back(tokens).logits, expected, atol=1e-4, rtol=0)


def test_padding_on_the_right_changes_nothing(policy):
    tokens = torch.randint(0, VOCAB, (2, 30))
    with torch.no_grad():
        short, long = policy.model(tokens[:, :20]), policy.model(tokens)
    torch.testing.assert_close(short, long[:, :20], atol=1e-5, rtol=0)


def test_shards_are_read(tmp_path, tokenizer):
    theirs = small("llama", tied=False)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    tokenizer.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    tokens = torch.randint(0, VOCAB, (1, 9))
    with torch.no_grad():
        torch.testing.assert_close(Decoder.read(tmp_path).model(tokens), theirs(tokens).logits, atol=1e-4, rtol=0)


def edit(path, **changes):
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changes}))


def drop(path, name):
    tensors = load_file(path / "model.safetensors")
    del tensors[name]
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def reshape(path):
    tensors = load_file(path / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(7)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


REFUSALS = [
    (lambda p: (p / "model.safetensors").unlink(), "no weights"),
    (lambda p: (p / "model.safetensors").write_bytes(b"12345678 not weights"), "not a readable safetensors"),
    (lambda p: (p / "config.json").unlink(), r"no config\.json"),
    (lambda p: (p / "config.json").write_text("{"), "is not JSON"),
    (lambda p: edit(p, model_type="gpt2"), "model_type is 'gpt2'"),
    (lambda p: edit(p, hidden_act="relu"), "hidden_act"),
    (lambda p: edit(p, rope_parameters={"rope_type": "yarn", "factor": 2.0}), "rope type 'yarn'"),
    (lambda p: edit(p, use_sliding_window=True, sliding_window=16), "sliding-window"),
    (lambda p: edit(p, num_key_value_heads=3), "cannot share"),
    (lambda p: drop(p, "model.layers.1.mlp.up_proj.weight"), r"tensor model\.layers\.1\.mlp\.up_proj\.weight is missing"),
    (lambda p: edit(p, num_hidden_layers=2), "unknown to a qwen3 model"),
    (reshape, r"tensor model\.norm\.weight has shape \(7,\)"),
    (lambda p: [(p / n).unlink() for n in ("tokenizer.json", "tokenizer_config.json")], "no tokenizer files"),
]


@pytest.mark.parametrize(("damage", "message"), REFUSALS)
def test_a_damaged_folder_is_refused_in_one_line(tmp_path, folder, damage, message):
    copy = shutil.copytree(folder, tmp_path / "copy")
    damage(copy)
    with pytest.raises(ValueError, match=message) as error:
        Decoder.read(copy)
    assert "\n" not in str(error.value)


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path):
    small("llama", vocab_size=200).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="token id 259 but the model embeds only 200"):
        Decoder.read(tmp_path)


def test_a_fresh_model_is_the_same_for_the_same_seed(folder, tokenizer):
    config = json.loads((folder / "config.json").read_text())
    a, b, c = (Decoder.fresh(config, tokenizer, seed=s).weights() for s in (1, 1, 2))
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(a[name], b[name])
    assert not torch.equal(a[name], c[name])
    assert abs(a[name].std().item() - 0.3) < 0.02
