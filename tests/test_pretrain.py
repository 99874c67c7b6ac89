"""``journeyman pretrain``: a folder that loads everywhere, continued after a kill, never mixed with another."""

import asyncio
import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from journeyman.cli import main
from journeyman.policies import load_policy
from journeyman.pretrain import Recipe, pretrain, rate
from journeyman.store import latest
from journeyman.types import Sampling, user

SMALL = {"rows": 300, "batch_tokens": 2000, "families": "count_bits", "roles": False, "hidden": 32, "intermediate": 64, "layers": 2}


class Killed(BaseException):
    pass


def test_a_killed_pretraining_continues_and_its_folder_loads(tmp_path):
    out, notes = tmp_path / "base", []

    def kill_at_first_note(text):
        if latest(out) is not None:
            raise Killed(text)

    recipe = Recipe(**SMALL)
    with pytest.raises(Killed):
        pretrain(recipe, out, note=kill_at_first_note, save_seconds=0.0)  # the last note comes after many saves
    saved = latest(out)
    assert saved is not None
    pretrain(recipe, out, note=notes.append)
    assert notes[0].startswith("continuing at ")
    assert latest(out) >= saved
    policy = load_policy(out, device="cpu")
    trace = asyncio.run(policy.sample(user("3?"), Sampling(max_tokens=5, temperature=0), id="a", seed=0, role="solver"))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32), AutoTokenizer.from_pretrained(out)
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "3?"}], add_generation_prompt=True, return_tensors="pt")
    drawn = model.generate(prompt["input_ids"], max_new_tokens=5, do_sample=False, pad_token_id=0)
    assert tuple(drawn[0].tolist()) == trace.tokens


def test_another_recipe_in_the_same_folder_is_refused(tmp_path, capsys):
    out = tmp_path / "base"
    out.mkdir()
    (out / "pretrain.json").write_text(json.dumps({"rows": 1}))
    assert main(["pretrain", "--out", str(out), "--rows", "10"]) == 2
    assert "holds another pretraining" in capsys.readouterr().err
    assert main(["pretrain", "--out", str(tmp_path / "new"), "--families", "nonsense"]) == 2
    assert not (tmp_path / "new").exists()


def test_a_start_gives_weights_and_tokenizer_and_another_shape_is_refused(tmp_path):
    first = pretrain(Recipe(**SMALL), tmp_path / "first", note=print)
    settings = {**SMALL, "rows": 1, "families": "gcd", "seed": 1, "start": str(first)}
    second = pretrain(Recipe(**settings, lr=0.0, matrix_lr=0.0), tmp_path / "second", note=print)
    assert (second / "tokenizer.json").read_text() == (first / "tokenizer.json").read_text()
    one, two = (AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32).state_dict() for f in (first, second))
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(ValueError, match=r"hidden_size 32 \(here 48\); repeat its sizes"):
        pretrain(Recipe(**{**settings, "hidden": 48}), tmp_path / "third", note=print)
    assert not (tmp_path / "third").exists()


def test_the_learning_rate_warms_up_and_falls_to_zero():
    recipe = Recipe(rows=1000, lr=1.0, warmup=10)
    assert rate(recipe, 0, 0) == pytest.approx(0.1)
    assert rate(recipe, 50, 500) == pytest.approx(0.5)
    assert rate(recipe, 99, 1000) == 0.0
