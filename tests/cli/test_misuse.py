"""Bad input: status 2, one line on standard error that says what was found, nothing on standard output, nothing written."""

import shutil
import subprocess
import sys

import pytest

from journeyman.cli import main
from tests.cli.conftest import SMALL
from tests.policies.conftest import small


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if "__pycache__" not in p.parts)


@pytest.fixture
def refused(place, capfd):
    """Call it with the words of a command that must be refused; returns the reason."""

    def check(*words):
        before = listing(place)
        status = main([str(w) for w in words])
        out, err = capfd.readouterr()
        assert (status, out) == (2, ""), err
        assert err.startswith("journeyman: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert listing(place) == before
        return err

    return check


@pytest.fixture
def run(refused, model):
    """The same for a small run of a recipe with these flags in place of its own."""

    def check(*flags, recipe="grpo", out="out"):
        own = {"--policy": str(model), "--tasks": "tasks.jsonl", "--out": out, **dict(zip(SMALL[::2], SMALL[1::2], strict=True))}
        own |= dict(zip(flags[::2], map(str, flags[1::2]), strict=True))
        return refused("run", recipe, *(f"{name}={value}" for name, value in own.items()))

    return check


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["run", "grppo", "--out", "out"], "no recipe is named 'grppo'; did you mean grpo?"),
        (["run"], "name a recipe first: journeyman run RECIPE --out DIR; there are asft, capo"),
        (["run", "--out", "out", "grpo"], "name a recipe first"),
        (["run", "grpo"], "--out requires an argument"),
        (["run", "grpo", "--out", "out", "--sibs", "3"], "Unknown option: --sibs. Did you mean --siblings?"),
        (["run", "grpo", "--out", "out", "3"], "Unused Tokens: ['3']"),
        (["run", "--resume", "nowhere"], "nowhere holds no run"),
        (["trian"], 'Unknown command "trian"'),
        (["show", "grppo"], "did you mean grpo?"),
        (["show", "./none.py"], "journeyman: there is no file none.py"),
        (["export", "nowhere", "--out", "x"], "nowhere holds no run"),
        (["export", "nowhere", "--out", "x", "--what", "model"], "nowhere holds no run"),
        (["export", "nowhere", "--out", "x", "--what", "all"], 'Choose from: "rollouts", "model"'),
        (["eval", "--tasks", "tasks.jsonl", "--k", "0"], "found k=0"),
        (["eval", "--tasks", "tasks.jsonl", "--n", "0"], "n=0"),
        (["eval", "--tasks", "tasks.jsonl", "--temperature", "-1"], "temperature=-1.0"),
        (["eval", "--tasks", "tasks.jsonl", "--temperature=nan"], '"nan"'),
        (["eval", "--tasks", "tasks.jsonl", "--top-p", "0"], "top_p=0.0"),
        (["eval", "--tasks", "tasks.jsonl", "--max-tokens", "0"], "max_tokens=0"),
        (["eval", "--tasks", "tasks.jsonl", "--extract", "foo"], "no extractor is named 'foo'"),
        (["eval", "--tasks", "tasks.jsonl", "--split", "foo"], 'Choose from: "train"'),
        (["eval", "--tasks", "tasks.jsonl", "--strategy", "exact()"], "exact is a feedback, not a strategy"),
        (["eval", "--tasks", "none.jsonl", "--json"], "there is no file none.jsonl"),
        (["pretrain", "--out", "out", "--families", "chain_sm"], "chain_sm"),
    ],
    ids=lambda x: " ".join(x)[:50] if isinstance(x, list) else "",
)
def test_words(refused, words, reason):
    assert reason in refused(*words)


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [
        ("--steps", "many", 'unable to convert "many" into int'),
        ("--steps", "1.5", 'unable to convert "1.5" into int'),
        ("--eval-n", "1.5", 'unable to convert "1.5" into int'),
        ("--lr", "fast", 'unable to convert "fast" into float'),
        ("--lr", "nan", 'unable to convert "nan" into float'),
        ("--beta", "inf", 'unable to convert "inf" into float'),
        ("--lr", "-1", "lr=-1.0"),
        ("--clip", "-1", "low=-1.0"),
        ("--steps", "0", "steps is 0"),
        ("--batch", "0", "batch is 0"),
        ("--siblings", "0", "siblings=0"),
        ("--siblings", "1", "credit group_zscore needs 'siblings', which nothing before it gives; write siblings=8"),
        ("--max-tokens", "0", "max_tokens is 0"),
        ("--temperature", "-1", "temperature is -1.0"),
        ("--eval-n", "0", "eval_n is 0"),
        ("--eval-k", "0", "eval_k is 0"),
        ("--eval-every", "-1", "eval_every is -1"),
        ("--save-every", "0", "save_every is 0"),
        ("--lora", "0", "rank is 0"),
        ("--dtype", "int3", "dtype is 'int3'"),
        ("--device", "cuda:99", "device is 'cuda:99', but torch finds"),
        ("--device", "tpu", "device is 'tpu', expected auto, cpu, cuda"),
        ("--log", "mlflow", 'Choose from: "none"'),
        ("--tasks", "none.jsonl", "there is no file none.jsonl"),
        ("--tasks", "tasks.csv", "'tasks.csv' is no source of tasks"),
        ("--eval-tasks", "none.jsonl", "there is no file none.jsonl"),
        ("--tasks", "gym:chain_sm", "reasoning-gym has no generator named 'chain_sm'"),
        ("--tasks", "gym:chain_sum@99", "chain_sum has levels 0 to 4: found level 99"),
        ("--tasks", "gym:chain_sum@x", "is no family"),
        ("--policy", "nowhere", "nowhere does not exist"),
        ("--policy", "tasks.jsonl", "tasks.jsonl is not a folder"),
        ("--feedback", "vote()", "vote is a strategy, not a feedback"),
        ("--reward", "reward.py", "expected a file and a function in it"),
        ("--reward", "reward:length", "expected a file and a function in it"),
        ("--reward", "none.py:length", "there is no file none.py"),
        ("--reward", "reward.py:none", "none does not exist in reward.py"),
        ("--reward", "reward.py:not_a_function", "not_a_function is not a function in reward.py"),
    ],
)
def test_flags(run, flag, value, reason):
    assert reason in run(flag, value)


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        ("vot(n=3)", "did you mean 'vote'?"),
        ("vote(m=3)", "unexpected keyword argument 'm'; it takes n, inner, weight"),
        ("vote(n=", "is not a part; write a call such as"),
        ("vote(n=0)", "vote has n=0"),
        ("vote(n='a')", "vote: n is 'a', expected a whole number"),
        ("__import__('os').system('touch pwned')", "is not a part"),
        ("vote(n=__import__('os').system('touch pwned'))", "is not a part"),
        ("exact()", "exact is a feedback, not a strategy"),
        ("vote(inner=exact())", "exact is a feedback, not a strategy"),
    ],
)
def test_strategies(run, strategy, reason):
    assert reason in run("--strategy", strategy, recipe="expert_iteration")


@pytest.mark.skipif("__import__('torch').cuda.is_available()")
def test_no_cuda(run, refused, model):
    assert "device is 'cuda', but torch finds 0 cuda devices here; write auto or cpu" in run("--device", "cuda")
    assert "torch finds 0 cuda" in refused("eval", "--tasks", "tasks.jsonl", "--device", "cuda", "--policy", model)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "bad.jsonl is empty"),
        ("\n  \n\n", "bad.jsonl has no tasks"),
        ('{"prompt": "1", "answer": "1"}\n{"prompt": "2"}\n', "bad.jsonl line 2: field 'answer' is missing"),
        ('{"prompt": "1", "answer": "1"}\n{"prompt":\n', "bad.jsonl line 2: not JSON"),
        ('{"prompt": 3, "answer": "1"}\n', "bad.jsonl line 1: field 'prompt' is 3"),
        ("[1]\n", "bad.jsonl line 1: found [1]"),
    ],
)
def test_task_files(run, place, text, reason):
    (place / "bad.jsonl").write_text(text)
    assert reason in run("--tasks", "bad.jsonl")


def test_policy_folders(run, place, model, capfd):
    for lacking, reason in (
        ("model.safetensors", "has no weights: expected model.safetensors"),
        ("config.json", "has no config.json"),
        ("tokenizer*.json", "has no tokenizer files"),
    ):
        folder = place / f"without-{lacking.partition('*')[0]}"
        shutil.copytree(model, folder, ignore=shutil.ignore_patterns(lacking))
        assert reason in run("--policy", folder)
    folder = place / "other-tokenizer"
    shutil.copytree(model, folder)
    small("qwen3", vocab_size=200, eos_token_id=1).save_pretrained(folder)
    capfd.readouterr()  # transformers shows a progress bar
    assert "token id 259 but the model embeds only 200 tokens" in run("--policy", folder)


def test_out(run, place, finished):
    (place / "file").write_text("")
    (place / "full").mkdir()
    (place / "full" / "thesis.tex").write_text("")
    assert "file is a file; --out names a new or empty folder" in run(out="file")
    assert "full is not empty and holds no run (found thesis.tex)" in run(out="full")
    taken = run(out=finished)
    assert f"{finished} already holds a run of grpo" in taken
    assert f"use --resume {finished} or another --out" in taken


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('two\\nlines')", "mine.py line 1: RuntimeError: two lines"),
        ("import sys; sys.exit(3)", "mine.py line 1: SystemExit: 3"),
        ("\ndef recipe(:", "invalid syntax (mine.py, line 2)"),
        ("x = 1", "mine.py defines no function recipe; write def recipe("),
        ("recipe = 3", "mine.py defines no function recipe"),
        ("def recipe(tasks='tasks.jsonl'): ...", "mine.py defines a recipe that takes no policy"),
        ("def recipe(policy='base', **more): ...", "found **more"),
        ("def recipe(policy='base', device='cpu'): ...", "has an argument device, which is an option of every run"),
        ("def recipe(policy='base', tasks='tasks.jsonl'): return 3", "returned int, expected a Run"),
        ("def recipe(policy='base', tasks='tasks.jsonl'):\n    return {}['x']", "mine.py line 2: KeyError: 'x'"),
        ("from journeyman.recipes import grpo\ndef recipe(policy='base'): return grpo(policy, 'tasks.jsonl')", "--eval-tasks"),
        ("from journeyman.strategies import vote\ndef recipe(policy='base'): return vote(n=0)", "vote has n=0"),
    ],
)
def test_recipe_files(refused, place, model, code, reason):
    (place / "mine.py").write_text(code)
    assert reason in refused("run", "./mine.py", "--out", "out", "--policy", model)


def test_objective_that_credit_does_not_feed(refused, place, model):
    (place / "mine.py").write_text("""
from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, surrogate
from journeyman.recipes import expert_iteration
from journeyman.run import Learners

def recipe(policy="base", tasks="tasks.jsonl"):
    run = expert_iteration(policy, tasks)
    run.learners = Learners({"policy": Gradient(surrogate(ratio=over_behaviour))})
    return run
""")
    reason = refused("run", "./mine.py", "--out", "out", "--policy", model)
    assert "Gradient needs 'behaviour_logp', which nothing before it gives; write a credit that keeps the sampled tokens" in reason


@pytest.mark.parametrize("recipe", ["star", "expert_iteration"])
def test_shuffled_rewards_of_an_oracle(refused, model, recipe):
    oracle = ["--strategy", "vote(inner=best_of_n(n=2))"] if recipe == "expert_iteration" else []
    words = ["run", recipe, *oracle, "--shuffle-rewards", "--tasks", "tasks.jsonl", "--policy", model, "--out", "out"]
    assert "the strategy asks the verifier itself; write strategy=sample" in refused(*words)


@pytest.mark.parametrize("library", ["tensorboard", "trackio", "wandb"])
def test_missing_logger(run, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)  # what Python does where a module is not installed
    assert f"--log {library} needs {library}, which is not installed; write: pip install 'journeyman[{library}]'" in run(
        "--log", library
    )


def test_as_a_program(place):
    words = [sys.executable, "-m", "journeyman", "run", "grppo", "--out", "out"]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "journeyman: no recipe is named 'grppo'; did you mean grpo?\n"
    assert not (place / "out").exists()
