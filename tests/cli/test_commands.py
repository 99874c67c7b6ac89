"""Commands that work: a run of one's own recipe, its exports, evaluation, and the catalogues."""

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from journeyman import recipes
from journeyman.bench import LONGEST
from journeyman.cli import main
from journeyman.policies import Decoder, load_policy
from journeyman.policies.folder import read_config, read_tokenizer
from journeyman.store import load_checkpoint

RECIPE = '''
"""My own method: an expert of my own, everything else as it comes."""
from dataclasses import dataclass

from journeyman.protocols import words
from journeyman.recipes import expert_iteration
from journeyman.types import Answer


@dataclass(frozen=True)
class loudly:
    """Answers with an exclamation mark."""

    mark: str = "!"
    needs = words()
    gives = words("answer")

    async def __call__(self, question, policy):
        trace = await policy.sample(question.prompt)
        return Answer(trace.text + self.mark, trace.id)


def recipe(policy="base", tasks="tasks.jsonl", rounds: int = 9, lr: float = 1, careful: bool = False):
    """My method.

    Args:
        rounds: How many rounds.
    """
    print("assembled")
    return expert_iteration(policy, tasks, loudly(), steps=rounds, batch=2, siblings=2, lr=lr, max_tokens=4)
'''


def test_own_recipe_as_a_program(place, model):
    """In another working directory than the recipe's, without a terminal, warnings as errors."""
    (place / "mine").mkdir()
    (place / "mine" / "my_recipe.py").write_text(RECIPE)
    (place / "mine" / "tasks.jsonl").write_text((place / "tasks.jsonl").read_text())
    words = ["run", "mine/my_recipe.py", "--policy", str(model), "--rounds", "2", "--lr", "0.5", "--eval-n", "2"]
    environment = {**os.environ, "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-m", "journeyman", *words, "--out", "deep/out"]
    done = subprocess.run(program, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads((place / "deep" / "out" / "result.json").read_text())
    assert set(result) == {"before", "after", "change", "training"}
    assert result["training"]["steps"] == 2
    assert result["training"]["sampled_tokens"] > 0 < result["training"]["seconds"]
    assert result["after"]["overall"]["n_samples"] == 2 * 4
    assert "step 2/2" in done.stderr
    assert "accuracy in percent" in done.stdout
    assert "run folder: deep/out" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_own_recipe_shown_and_explained(place, capsys):
    (place / "my_recipe.py").write_text(RECIPE)
    assert main(["show", "./my_recipe.py"]) == 0
    shown = capsys.readouterr().out
    assert "class loudly:" in shown
    assert "return expert_iteration(policy, tasks, loudly(), steps=rounds" in shown
    for _ in range(2):  # a second time in the same process too
        assert main(["run", "./my_recipe.py", "--help"]) == 0
        told = capsys.readouterr().out
        assert "How many rounds." in told
        assert "--lr FLOAT" in told
        assert "--careful" in told
        assert "--no-careful" not in told


def test_run_folder(finished):
    result = json.loads((finished / "result.json").read_text())
    assert result["before"]["overall"]["n_tasks"] == result["after"]["overall"]["n_tasks"] == 2
    assert result["change"]["low"] <= result["change"]["mean"] <= result["change"]["high"]
    assert (finished / "before.json").exists()


def test_resuming_a_finished_run_shows_its_result(finished, capsys):
    before = (finished / "result.json").read_bytes()
    assert main(["run", "--resume", str(finished)]) == 0
    assert "pass@1" in capsys.readouterr().out
    assert (finished / "result.json").read_bytes() == before


def test_export_rollouts(finished, tmp_path, capsys):
    assert main(["export", str(finished), "--out", str(tmp_path / "r.jsonl")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'r.jsonl'}\n"
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 2 * 2  # steps, tasks, siblings
    assert main(["export", str(finished), "--out", str(tmp_path / "r.parquet"), "--kind", "parquet"]) == 0
    assert [r["attempt"] for r in pq.read_table(tmp_path / "r.parquet").to_pylist()] == [r["attempt"] for r in rows]
    capsys.readouterr()
    assert main(["export", str(finished), "--out", str(tmp_path / "r.jsonl")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_export_model(finished, model, tmp_path, capsys):
    assert main(["export", str(finished), "--out", str(tmp_path / "m"), "--what", "model"]) == 0
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    start = AutoModelForCausalLM.from_pretrained(model)
    assert any(not torch.equal(a, b) for a, b in zip(trained.parameters(), start.parameters(), strict=True))
    weights = {k: v for k, v in load_checkpoint(finished).tensors.items() if k.startswith("policy/policy/")}
    own = load_policy(tmp_path / "m", device="cpu").weights()
    assert all(torch.equal(own[k.removeprefix("policy/policy/")], v) for k, v in weights.items())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "m")
    ids = tokenizer("1+2=", return_tensors="pt").input_ids
    assert torch.isfinite(trained(ids).logits).all()


def test_eval_json_is_one_document(place, model, capfd):
    words = ["--tasks", "tasks.jsonl", "--policy", str(model), "--n", "3", "--k", "2", "--max-tokens", "4"]
    assert main(["eval", *words, "--strategy", "best_of_n(n=2)", "--json"]) == 0
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert err == ""
    assert found["oracle"] is True
    assert (found["overall"]["n_tasks"], found["overall"]["n_samples"], found["k"]) == (3, 6, 2)
    assert main(["eval", *words]) == 0
    assert "pass@2" in capfd.readouterr().out


def test_methods_json(capfd):
    assert main(["methods", "--json"]) == 0
    out, err = capfd.readouterr()
    rows = json.loads(out)
    assert err == ""
    for row in rows:
        assert {"name", "kind", "seed_id", "papers", "status", "evidence", "file", "summary"} <= row.keys()
        assert row["status"] == "implemented"
        assert row["summary"].strip()
    assert {r["name"] for r in rows if r["kind"] == "recipe"} == set(recipes.__all__)
    assert len({(r["kind"], r["name"]) for r in rows}) == len(rows)
    evidence = {r["name"]: r["evidence"] for r in rows}
    assert "tests/credit/test_group_relative.py" in evidence["group_zscore"]
    assert "tests/cli/test_commands.py" in evidence["best_of_n"]  # named in a string, as on the command line
    assert main(["methods"]) == 0
    assert "group_zscore" in capfd.readouterr().out


def test_eval_says_why_nothing_was_scored(place, model, capsys):
    """HumanEval files load, but unit tests have no verifier yet."""
    row = {"task_id": "H/0", "prompt": "def f():\n", "test": "def check(f): pass", "entry_point": "f"}
    (place / "code.jsonl").write_text(json.dumps(row) + "\n")
    assert main(["eval", "--policy", str(model), "--tasks", "code.jsonl", "--max-tokens", "4"]) == 0
    err = capsys.readouterr().err
    assert err.startswith("journeyman: warning: none of 1 attempts got a score (1 times failed: ")


def test_bench_measures_every_workload(model, tmp_path, capfd):
    long = Decoder.fresh({**read_config(model), "max_position_embeddings": LONGEST}, read_tokenizer(model))
    long.save(tmp_path / "long")
    assert main(["bench", "--policy", str(tmp_path / "long"), "--repeats", "1", "--threads", "1", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert [r["name"] for r in found["rates"]] == ["short", "siblings", "distinct", "mixed", "update"]
    assert [r["saved"] for r in found["rates"]] == [0, 7 / 8, 0, 0, 0]
    assert all(0 < r["low"] <= r["median"] <= r["high"] and r["gflops"] > 0 for r in found["rates"])
    assert found["machine"]["gflops"] > 0
    for wrong in (["--repeats", "0"], ["--policy", str(model)]):
        assert main(["bench", *wrong]) == 2
        assert capfd.readouterr().err.count("\n") == 1
