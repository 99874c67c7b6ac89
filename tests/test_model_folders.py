"""Model folders written by transformers: load, train two steps (all weights, and LoRA), save, load back into transformers."""

import asyncio

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from journeyman.loop import train
from journeyman.policies import load_policy
from journeyman.recipes import sft
from journeyman.testing import sums
from journeyman.types import replace
from tests.policies.conftest import byte_tokenizer, small

TASKS = [replace(t, solution=t.answer) for t in sums(8)]


@pytest.fixture(params=["qwen3", "llama", "qwen2"])
def folder(request, tmp_path):
    torch.set_num_threads(1)
    small(request.param).save_pretrained(tmp_path / "model")
    byte_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def two_steps(policy):
    before = {k: v.clone() for k, v in policy.weights().items()}
    asyncio.run(train(sft(policy=policy, tasks=TASKS, feedback="exact", steps=2, batch=4, lr=1e-2)))
    assert policy.version == 2
    changed = [k for k, v in policy.weights().items() if not torch.equal(v, before[k])]
    assert changed, "two steps changed nothing"
    return changed


def logits_agree(policy, model):
    tokens = policy.render([*TASKS[0].prompt, {"role": "assistant", "content": "12"}])[0]
    ours = asyncio.run(policy.logp(tokens))[1:]
    with torch.no_grad():
        theirs = model(torch.tensor([tokens])).logits[0, :-1].log_softmax(-1)
    expected = theirs.gather(-1, torch.tensor(tokens[1:])[:, None]).squeeze(-1)
    assert list(ours) == pytest.approx(expected.tolist(), abs=1e-4)


def test_all_weights(folder, tmp_path):
    policy = load_policy(folder, device="cpu")
    two_steps(policy)
    policy.save(tmp_path / "trained")
    logits_agree(policy, AutoModelForCausalLM.from_pretrained(tmp_path / "trained"))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft calls what transformers renamed
def test_lora(folder, tmp_path):
    policy = load_policy(folder, device="cpu", lora=4)
    changed = two_steps(policy)
    assert all("lora_" in name for name in changed)
    assert len(policy.weights()) == sum("lora_" in k for k in policy.weights()), "only the adapters train"
    policy.save(tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(folder)
    logits_agree(policy, peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval())
    policy.save(tmp_path / "merged", merged=True)
    logits_agree(policy, AutoModelForCausalLM.from_pretrained(tmp_path / "merged"))
