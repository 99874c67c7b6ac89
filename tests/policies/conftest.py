"""A byte-level tokenizer and small random models, made by transformers."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from journeyman.policies import Decoder

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
VOCAB = 264


def byte_tokenizer(template=TEMPLATE):
    """256 bytes, a merge, and the specials of a small chat template."""
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>", "<|system|>"]})
    fast.chat_template = template
    return fast


def small(kind, tied=True, **more):
    """A random model with weights large enough that its distributions are not flat."""
    torch.manual_seed(0)
    config = {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "tie_word_embeddings": tied,
        "initializer_range": 0.3,
        "bos_token_id": None,
        "eos_token_id": 256,
        **more,
    }
    if kind == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(head_dim=16, **config)).eval()
    if kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**config)).eval()
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(p)
        return model
    return LlamaForCausalLM(LlamaConfig(**config)).eval()


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer():
    return byte_tokenizer()


@pytest.fixture(scope="session")
def folder(tmp_path_factory, tokenizer):
    """A Qwen3 folder as transformers writes it."""
    path = tmp_path_factory.mktemp("qwen3")
    small("qwen3").save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def policy(folder):
    return Decoder.read(folder)
