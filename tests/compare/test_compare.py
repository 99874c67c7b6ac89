"""Whole comparisons on a tiny model: told, killed and continued, with a run that fails, refused."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from journeyman.cli import main
from journeyman.compare.page import ahead, curves
from journeyman.compare.plan import labels_of
from journeyman.compare.run import await_lock
from journeyman.compare.tables import tables
from journeyman.store import Store
from tests.compare.conftest import BUDGET, numbers, snapshot, words

FAILS = '''
"""GRPO whose credit breaks with seed 1."""
from journeyman.protocols import declare, words
from journeyman.recipes import grpo


@declare(needs=words("score"), gives=words("lessons", "advantage", "behaviour_logp", "term.rl"))
def broken(group, render):
    raise ArithmeticError("no credit\\ntoday")


def recipe(policy="base", tasks="tasks.jsonl", batch: int = 2, siblings: int = 2, max_tokens: int = 4, seed: int = 0):
    run = grpo(policy, tasks, batch=batch, siblings=siblings, max_tokens=max_tokens, seed=seed)
    if seed == 1:
        run.credit = broken
    return run
'''


# ---------------------------------------------------------------------------------------- a comparison


def test_budget_is_equal_and_counted(compared):
    result = json.loads((compared / "compare.json").read_text())
    assert [(r["label"], r["seed"]) for r in result["runs"]] == [("grpo_lr_0.01", 0), ("rloo", 0), ("grpo_lr_0.01", 1), ("rloo", 1)]
    for run in result["runs"]:
        assert run["failed"] is None
        with Store(compared / "runs" / f"{run['label']}-{run['seed']}").open(readonly=True) as store:
            costs = [s.attempt.cost for s in store.attempts()]
            steps = len(store.steps())
        spent = sum(c.prompt_tokens + c.sampled_tokens for c in costs)
        assert run["spent_tokens"] == pytest.approx(spent)
        assert run["over_budget_tokens"] == pytest.approx(spent - BUDGET)
        last = sum(c.prompt_tokens + c.sampled_tokens for c in costs[-4:])
        assert 0 <= spent - BUDGET < last  # not before the budget is spent, and not a step later
        assert run["steps"] == steps
        assert run["trained_tokens"] > 0
        assert [x for x, _ in run["training"]] == sorted(x for x, _ in run["training"])
        assert run["curve"][0] == [0, run["before"]]
        assert run["curve"][-1] == [run["spent_tokens"], run["after"]]


def test_pairs_share_tasks(compared):
    held, order = [], []
    for seed in (0, 1):
        for label in ("grpo_lr_0.01", "rloo"):
            folder = compared / "runs" / f"{label}-{seed}"
            held.append(json.loads((folder / "result.json").read_text())["before"]["tasks"])
            with Store(folder).open(readonly=True) as store:
                order.append([s.task.id for s in store.attempts()])
    assert all(h == held[0] for h in held)  # the same base sits the same exam
    assert order[0] == order[1]
    assert order[2] == order[3]
    assert order[0] != order[2]


def test_numbers_agree(compared):
    result = json.loads((compared / "compare.json").read_text())
    for side in result["recipes"]:
        runs = [r for r in result["runs"] if r["label"] == side["label"]]
        assert side["after"]["mean"] == pytest.approx(sum(r["after"] for r in runs) / 2)
        assert side["change"]["mean"] == pytest.approx(side["after"]["mean"] - side["before"]["mean"])
        assert side["change"]["low"] <= side["change"]["mean"] <= side["change"]["high"]
    (only,) = result["differences"]
    first, second = result["recipes"]
    assert only["mean"] == pytest.approx(first["after"]["mean"] - second["after"]["mean"])
    assert result["wins"]["share"] == [[None, only["wins"]], [1 - only["wins"], None]]
    assert any(note.startswith("2 seeds") for note in result["notes"])


def test_again_and_elsewhere_runs_nothing(compared, world, model, tmp_path, monkeypatch, capsys):
    before = snapshot(compared)
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--resume", str(compared)]) == 0
    shown = capsys.readouterr().out
    assert "row beats column" in shown
    assert all(len(line) <= 80 for line in shown.splitlines() if not line.startswith("page: "))
    assert main(["compare", "--resume", str(compared), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == json.loads((compared / "compare.json").read_text())
    assert told.err == ""
    assert snapshot(compared) == before


def test_of_many_recipes_the_terminal_shows_differences_to_the_first_only():
    names = [f"r{i}" for i in range(12)]
    number = {"mean": 0.5, "low": 0.4, "high": 0.6}
    cost = dict.fromkeys(("sampled_tokens", "trained_tokens", "spent_tokens", "steps", "seconds"), 1.0)
    one = {"seeds": [0], "failed": [], "before": number, "after": number, "change": number} | cost
    result = {
        "recipes": [{"label": x} | one for x in names],
        "runs": [{"label": x, "failed": None, "over_budget_tokens": 0} for x in names],
        "differences": [{"a": a, "b": b, "seeds": [0]} | number for i, a in enumerate(names) for b in names[i + 1 :]],
        "wins": {"labels": names, "share": [[None] * 12] * 12, "rule": "whose"},
        "notes": [], "rule": "", "budget_rule": "", "budget_tokens": 1,
    }  # fmt: skip
    console = Console(width=80, file=StringIO(), record=True)
    console.print(tables(result))
    shown = console.export_text()
    assert "r0 - r11" in shown
    assert "r1 - r2" not in shown
    assert "row beats column" not in shown


def test_page(compared):
    text = (compared / "compare.html").read_text()
    head, _, body = text.partition('<script type="application/json" id="result">')
    assert json.loads(body.partition("</script>")[0]) == json.loads((compared / "compare.json").read_text())
    figures = json.loads(text.partition('id="data">')[2].partition("</script>")[0])["figures"]
    assert set(figures) == {"learning", "training", "changes", "costs", "wins"}
    assert len(figures["learning"]["data"]) == 4
    assert all(f'data-figure="{name}"' in head for name in figures)
    assert "http://" not in head
    assert "https://" not in head


def test_a_recipe_is_called_highest_only_where_every_difference_is_clear():
    def result(low, high):
        sides = [{"label": x, "after": {"mean": m}} for x, m in (("a", 0.5), ("b", 0.4))]
        return {"recipes": sides, "differences": [{"a": "a", "b": "b", "low": low, "high": high}], "runs": [], "budget_tokens": 1}

    assert ahead(result(0.01, 0.2), "a")
    assert not ahead(result(0.01, 0.2), "b")
    assert not ahead(result(-0.01, 0.2), "a")
    assert ahead({"differences": [{"a": "b", "b": "a", "low": -0.3, "high": -0.1}]}, "a")
    assert curves(result(0.01, 0.2))["title"].endswith("is highest with a: 50.0 %")
    assert curves(result(-0.01, 0.2))["title"].endswith("40.0 % to 50.0 %, none clearly ahead")


# ---------------------------------------------------------------------------------------- kills and failures


def test_killed_and_continued(compared, world, model):
    """SIGKILL in the middle of the second run; the same command ends with the very numbers of the unkilled comparison."""
    out = world / "killed"
    command = words(model, world, "grpo --lr 0.01", "rloo", out="killed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-m", "journeyman", *command]
    with (world / "killed.log").open("wb") as log:
        life = subprocess.Popen(program, stdout=log, stderr=log, env=environment, start_new_session=True, cwd=Path.cwd())
        end = time.monotonic() + 240
        while not middle(out / "runs" / "rloo-0" / "run.sqlite"):
            assert life.poll() is None, (world / "killed.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        os.kill(life.pid, signal.SIGKILL)  # itself alone: what it started must not go on without it
        life.wait()
    await_lock(out / "runs" / "rloo-0")
    kept = snapshot(out)
    assert not (out / "runs" / "rloo-0" / "result.json").exists()
    assert (out / "runs" / "grpo_lr_0.01-0" / "result.json").is_file()
    assert not (out / "compare.json").exists()
    assert main(command) == 0
    now = snapshot(out)
    assert now["grpo_lr_0.01-0"] == kept["grpo_lr_0.01-0"]
    assert numbers(out) == numbers(compared)


def middle(path: Path) -> bool:
    """Whether a run has stored attempts of its third step or a later one."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            return db.execute("SELECT count(*) FROM attempts WHERE step >= 3").fetchone()[0] > 0
    except sqlite3.OperationalError:  # not all of it is written yet
        return False


def test_failed_run_is_told_and_left_out(world, model, capsys):
    (world / "fails.py").write_text(FAILS)
    command = words(model, world, "rloo", str(world / "fails.py"), budget=50, out="failed")
    assert main(command) == 0
    told = capsys.readouterr()
    assert "fails seed 1 failed" in " ".join(told.out.split())
    assert "ArithmeticError: no credit today" in told.err
    result = json.loads((world / "failed" / "compare.json").read_text())
    side = next(r for r in result["recipes"] if r["label"] == "fails")
    assert side["seeds"] == [0]
    assert side["failed"] == [{"seed": 1, "reason": "ArithmeticError: no credit today"}]
    assert result["differences"][0]["seeds"] == [0]
    assert "failed: ArithmeticError" in (world / "failed" / "compare.html").read_text()
    assert "ArithmeticError" in (world / "failed" / "runs" / "fails-1.log").read_text()


def test_given_solutions_spend_nothing(world, model):
    """SFT samples nothing in training, so its own steps end it; a run of the same budget beside it goes on."""
    assert main(["sft", "--out", str(world / "sft"), "--budget-tokens", "5", "--steps", "2", *options(model, world)]) == 0
    with Store(world / "sft").open(readonly=True) as store:
        assert [known["spent_tokens"] for known in store.metrics().values()] == [0, 0]


def options(model, world):
    rows = [{"prompt": f"{a}+{b}=", "answer": str(a + b), "solution": str(a + b)} for a in range(6) for b in range(6)]
    (world / "solved.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--policy", str(model), "--tasks", str(world / "solved.jsonl"), "--batch", "2", "--max-tokens", "4", "--eval-n", "2"]


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("recipes", "changed", "told"),
    [
        (["grpo", "rlo"], {}, "no recipe is named 'rlo'; did you mean rloo?"),
        (["grpo"], {}, "at least two recipes, found 1"),
        (["grpo", "grpo"], {}, "'grpo' is written twice"),
        (["grpo", "rloo"], {"seeds": 0}, "--seeds is 0, expected at least 1"),
        (["grpo", "rloo"], {"budget": 0}, "--budget-tokens is 0, expected at least 1"),
        (["grpo", "rloo"], {"budget": 10}, "too small for one step of grpo: its prompts alone are"),
        (["grpo", "rloo --tasks other.jsonl"], {}, "--tasks is the same for all"),
        (["grpo", "rloo --seed 3"], {}, "write --seeds N, once"),
        (["grpo", "rloo --wrong 3"], {}, "'rloo --wrong 3': Unknown option"),
        (["grpo", "rloo"], {"out": "tasks.jsonl"}, "is a file"),
        (["grpo", "rloo"], {"out": "."}, "is not empty and holds no comparison"),
    ],
)
def test_refusals(recipes, changed, told, place, model, capsys):
    before = sorted(place.iterdir())
    assert main(words(model, place, *recipes, **changed)) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("journeyman: ")
    assert told in said
    assert sorted(place.iterdir()) == before  # nothing was begun


def test_answers_of_another_length_are_no_comparison(place, model, capsys):
    given = words(model, place, "grpo", "rft")  # each with its own default, 192 and 256 tokens
    at = given.index("--max-tokens")
    assert main([*given[:at], *given[at + 2 :]]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert (
        "do not have the same exam (2 attempts of 256 tokens at temperature 1, 2 attempts of 192 tokens at temperature 1)" in said
    )


def test_another_comparison_is_kept(compared, world, model, capsys):
    before = snapshot(compared)
    assert main(words(model, world, "grpo --lr 0.01", "rloo", seeds=3)) == 2
    assert "holds another comparison (its seeds: 2, now 3)" in capsys.readouterr().err
    assert main(["compare", "--resume", str(world / "tasks.jsonl")]) == 2
    assert "holds no comparison" in capsys.readouterr().err
    assert main(["compare", "--resume", str(compared), "--seeds", "7"]) == 2
    assert "continues a comparison as it was started" in capsys.readouterr().err
    assert main(["compare", "grpo", "rloo"]) == 2
    assert "--out or --budget-tokens is missing" in capsys.readouterr().err
    assert snapshot(compared) == before


def test_labels_are_folder_names():
    assert labels_of(["grpo", "grpo --lr 1e-3", "./my recipes/../mine.py --x ../y".replace("my recipes", "mine")]) == [
        "grpo",
        "grpo_lr_1e-3",
        "mine_x_..-y",
    ]
