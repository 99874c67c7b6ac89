"""A reward function of the user's own that breaks costs its attempts, never the run, and the user is told."""

import json

import pytest

from journeyman.cli import main
from journeyman.store import Store
from tests.cli.conftest import SMALL


def statuses(folder):
    with Store(folder).open(readonly=True) as store:
        judged = [j for s in store.attempts() for j in s.judgements]
        return judged, store.metrics()


@pytest.mark.parametrize(
    ("reward", "evidence"),
    [
        ("raises", "the reward function raised RuntimeError: no grader today"),
        ("nothing", "the reward function returned None; expected a finite number or a bool"),
        ("nan", "the reward function returned nan; expected a finite number or a bool"),
        ("text", "the reward function returned 'good'; expected a finite number or a bool"),
    ],
)
def test_reward_that_never_scores(place, model, capfd, reward, evidence):
    words = ["--tasks", "tasks.jsonl", "--policy", str(model), "--reward", f"reward.py:{reward}", "--out", "out", *SMALL]
    assert main(["run", "grpo", *words]) == 0
    judged, metrics = statuses(place / "out")
    assert {(j.status, j.score, j.evidence) for j in judged} == {("failed", None, evidence)}
    assert {step: m["unchecked"] for step, m in metrics.items()} == {1: 1.0, 2: 1.0}
    result = json.loads((place / "out" / "result.json").read_text())
    assert result["after"]["overall"]["statuses"] == {"failed": 4}
    lines = capfd.readouterr().err.splitlines()
    unscored = f"none of 4 attempts got a score (4 times failed: {evidence})"
    assert [x.removeprefix("journeyman: warning: ") for x in lines if x.startswith("journeyman: ")] == [
        f"in this evaluation {unscored}",
        f"in step 1 {unscored}; nothing was learned from them",
        f"in this evaluation {unscored}",
    ]


def test_reward_that_scores_sometimes(place, model, capfd):
    sizes = ["--steps", "1", "--batch", "8", "--siblings", "2", "--max-tokens", "4", "--eval-n", "4", "--eval-k", "1"]
    words = ["--tasks", "tasks.jsonl", "--policy", str(model), "--reward", "reward.py:sometimes", "--out", "out", *sizes]
    assert main(["run", "grpo", *words]) == 0
    judged, metrics = statuses(place / "out")
    failed = sum(j.status == "failed" for j in judged)
    assert 0 < failed < len(judged) == 16
    assert metrics[1]["unchecked"] == pytest.approx(failed / 16)
    assert metrics[1]["accuracy"] == 1.0  # over the checked ones
    assert "in step" not in capfd.readouterr().err
