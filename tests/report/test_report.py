"""A report's numbers are the run's, its page is safe and small, and a run that is not complete has one too."""

from __future__ import annotations

import asyncio
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import pytest

from journeyman.evals import paired_difference, summarise
from journeyman.evaluation import step_metrics
from journeyman.feedback import exact
from journeyman.report import write_report
from journeyman.report.browse import sample
from journeyman.report.facts import gather
from journeyman.report.figures import figures
from journeyman.report.outline import Row
from journeyman.runner import Runner
from journeyman.store import Session, Store
from journeyman.strategies import sample as one
from journeyman.testing import ScriptedPolicy, adds, sums
from journeyman.types import Answer, Assignment, Attempt, Group, Judgement, Sampling, Task, Trace, user

HOSTILE = "</script><img src=x onerror=alert(1)><!--<script>"
RECORD = {"recipe": "expert_iteration", "arguments": {"tasks": "gym:sums", "steps": 3}, "options": {"eval_k": 2}}


def attempts(
    tasks: list[Task], wrong: float, seed: int, step: str, siblings: int = 4, memory: Session | None = None
) -> list[Group]:
    """Judged groups of a scripted policy that is wrong so often."""
    runner = Runner(one(), exact(), sampling=Sampling(8), seed=seed)
    given = [Assignment(task, siblings) for task in tasks]
    policies = {"policy": ScriptedPolicy(adds(wrong))}
    if memory is None:
        return asyncio.run(runner.groups(policies, given, step))
    return asyncio.run(runner.groups(policies, given, step, memory=memory))


def exam(wrong: float, seed: int) -> dict:
    groups = attempts(sums(12), wrong, seed, "eval", 2)
    shares = {g.task.id: sum(s == 1.0 for s in g.scores()) / 2 for g in groups}
    return {**summarise(groups, k=2).to_json(), "tasks": shares}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of three steps, made by the runner with a scripted policy."""
    folder = tmp_path_factory.mktemp("report") / "run"
    with Store(folder).create(RECORD) as store:
        session = Session(store)
        for step in (1, 2, 3):
            session.begin_step(step)
            groups = attempts(sums(6), 0.6 - 0.15 * step, step, str(step), memory=session)
            extra = {"loss": 1.0 / step, "seconds": 2.0 * step, "trained_tokens": 10.0}
            store.end_step(step, {**step_metrics(groups), **extra})
    before, after = exam(0.6, 1), exam(0.1, 2)
    change = paired_difference([after["tasks"][t] for t in after["tasks"]], [before["tasks"][t] for t in after["tasks"]])
    (folder / "before.json").write_text(json.dumps(before))
    result = {"before": before, "after": after, "change": {k: getattr(change, k) for k in ("mean", "low", "high")}}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


class Page(HTMLParser):
    """The elements of a page, its visible text and its JSON."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.json: dict[str, dict] = {}
        self.text = ""
        self._inside, self._data = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside, self._data = tag, ""

    def handle_endtag(self, tag: str) -> None:
        known = self.tags[-1][1]
        if tag == "script" and known.get("type") == "application/json":
            self.json[known["id"] or ""] = json.loads(self._data)
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self._data += data
        if self._inside not in ("script", "style"):
            self.text += data


def page_of(folder: Path, out: Path) -> Page:
    return Page(write_report(folder, out).read_text())


def test_the_numbers_are_those_of_the_result(run: Path, tmp_path: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    page = page_of(run, tmp_path / "r.html")
    for side in ("before", "after"):
        known = result[side]["overall"]["pass_1"]
        assert page.json["headline"][side]["pass_1"] == known
        assert f"{100 * known['mean']:.1f} %" in page.text
        assert f"{100 * known['low']:.1f} to {100 * known['high']:.1f}" in page.text
    assert page.json["headline"]["change"] == result["change"]
    assert f"{100 * result['change']['mean']:+.1f} points" in page.text
    assert "complete" in page.text
    assert "3 of 3" in page.text


def test_curves_are_the_metrics_of_the_steps(run: Path) -> None:
    facts = gather(run)
    assert facts.oracle is False
    assert [r.step for r in facts.rounds] == [1, 2, 3]
    for found in facts.rounds:
        known = facts.metrics[found.step]
        assert found.policy.mean == pytest.approx(known["accuracy"])
        assert found.expert.mean == pytest.approx(known["solved"])
        assert found.policy.low < found.policy.mean < found.policy.high
    drawn = {f["id"]: f for f in figures(facts)}
    assert {"learning", "expert", "passes", "cells", "surprise", "length", "loss", "tokens", "seconds"} <= set(drawn)
    curve = next(t for t in drawn["loss"]["data"])
    assert curve["y"] == pytest.approx([1.0, 0.5, 1 / 3])
    points = drawn["learning"]["data"][-1]
    assert points["x"] == [0, 3]
    assert points["y"] == [100 * e["overall"]["pass_1"]["mean"] for e in (facts.before, facts.after) if e]
    gap = next(t for t in drawn["expert"]["data"] if t.get("name") == "gap")
    assert gap["y"] == pytest.approx([100 * (facts.metrics[s]["solved"] - facts.metrics[s]["accuracy"]) for s in (1, 2, 3)])


def test_every_figure_is_one_that_plotly_knows(run: Path) -> None:
    for found in figures(gather(run)):
        text = re.sub(r'"@[a-z]+(/[0-9.]+)?"', '"#123456"', json.dumps({"data": found["data"], "layout": found["layout"]}))
        go.Figure(json.loads(text))  # refuses unknown properties and values
        assert found["title"]


def hostile_run(folder: Path) -> Path:
    task = Task(f"t{HOSTILE}", user(HOSTILE), HOSTILE, source=HOSTILE, level=1)
    first = Trace("1/0/0:0", role=HOSTILE, text=HOSTILE + "\ud800", prompt=task.prompt, marks={HOSTILE: HOSTILE})
    second = Trace(
        "1/0/0:1", policy="critic", role="critic", text="no", parent=first.id, prompt=user(HOSTILE), marks={"value": 0.5}
    )
    record = {"recipe": "grpo", "arguments": {"tasks": HOSTILE, "strategy": HOSTILE}, "options": {"reward": HOSTILE}}
    with Store(folder).create(record) as store:
        store.begin_step(1)
        store.put_attempt(1, 0, 0, task, Attempt("1/0/0", task.id, Answer(HOSTILE, first.id), (first, second)))
        store.put_attempt(1, 0, 1, task, Attempt("1/0/1", task.id, None, error=HOSTILE))
        whole = Judgement("1/0/0", 0.0, evidence=HOSTILE, critique=HOSTILE, components={HOSTILE: 1.0})
        store.put_judgements([whole, Judgement("1/0/0", 0.25, trace=second.id)])
        store.end_step(1, {"accuracy": 0.0, f"{HOSTILE}/loss": 1.0, "loss": float("nan")})
    return folder


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    folder = hostile_run(tmp_path / "run")
    page = page_of(folder, tmp_path / "r.html")
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert not [name for _, known in page.tags for name in known if name.startswith("on")]
    assert sum(tag == "script" for tag, _ in page.tags) == 4  # headline, data, plotly, ours
    first, second = page.json["data"]["attempts"]
    assert first["prompt"] == [{"role": "user", "content": HOSTILE}]
    assert first["traces"][0]["text"] == HOSTILE + "\ud800"
    assert first["traces"][0]["marks"] == {HOSTILE: HOSTILE}
    assert first["traces"][1]["parent"] == first["traces"][0]["id"]
    assert first["traces"][1]["judgements"][0]["score"] == 0.25
    assert (first["outcome"], second["outcome"], second["error"]) == ("wrong", "error", HOSTILE)
    assert HOSTILE in page.text  # the arguments, as text


def test_a_run_that_was_killed_has_a_report(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    with Store(folder).create(RECORD) as store:
        session = Session(store)
        session.begin_step(1)
        store.end_step(1, step_metrics(attempts(sums(6), 0.5, 1, "1", memory=session)))
        session.begin_step(2)
        attempts(sums(6)[:3], 0.5, 2, "2", memory=session)
    (folder / "before.json").write_bytes((run / "before.json").read_bytes())
    page = page_of(folder, folder / "report.html")
    assert "not finished: 1 of 3 steps ended" in page.text
    assert page.json["headline"]["after"] is None
    assert {a["step"] for a in page.json["data"]["attempts"]} == {1, 2}
    assert page.json["data"]["figures"]["learning"]["data"][0]["x"] == [1]  # the step that was cut short is in no curve


def test_a_run_without_anything_has_a_report(tmp_path: Path) -> None:
    with Store(tmp_path / "run").create({"recipe": "./my_recipe.py"}):
        pass
    page = page_of(tmp_path / "run", tmp_path / "r.html")
    assert "No step has ended yet." in page.text
    assert page.json["data"] == {"figures": {}, "attempts": [], "version": ""}


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_that_is_no_run_is_told_in_one_line(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "no run"
    if made:
        folder.mkdir()
    with pytest.raises(ValueError, match="holds no run") as error:
        write_report(folder)
    assert "\n" not in str(error.value)
    assert folder.exists() == made


def test_three_thousand_attempts_with_long_texts_fit_on_a_page(tmp_path: Path) -> None:
    task = sums(1)[0]
    rng = random.Random(0)
    with Store(tmp_path / "run").create(RECORD) as store:
        for step in range(1, 11):
            store.begin_step(step)
            for i in range(300):
                id = f"{step}/{i // 4}/{i % 4}"
                text = "".join(rng.choices("abc <>&\n", k=50)) * (300 if i % 50 == 0 else 60)
                trace = Trace(f"{id}:0", text=text, prompt=task.prompt, sampled_tokens=9)
                store.put_attempt(step, i // 4, i % 4, task, Attempt(id, task.id, Answer(text, trace.id), (trace,)))
                store.put_judgements([Judgement(id, float(i % 50 == 0))])
            store.end_step(step, {"accuracy": 0.02})
    path = write_report(tmp_path / "run", tmp_path / "r.html")
    shown = Page(path.read_text()).json["data"]["attempts"]
    assert path.stat().st_size < 8_000_000
    assert 20 < len(shown) < 400
    assert {a["step"] for a in shown} == set(range(1, 11))
    assert {a["outcome"] for a in shown} == {"correct", "wrong"}
    assert any("more characters in the run folder" in a["answer"] for a in shown)


def test_the_sample_holds_every_step_and_every_outcome() -> None:
    rows = [Row(step, i, 0, f"{step}/{i}/0", "t", "f", 0, False, float(i == 7)) for step in range(1, 21) for i in range(100)]
    chosen = sample(rows, 400)
    assert len(chosen) == 400
    assert {(r.step, r.outcome) for r in chosen} == {(s, o) for s in range(1, 21) for o in ("correct", "wrong")}
    assert chosen == sample(rows[::-1], 400)
    many = [Row(step, 0, 0, f"{step}/0/0", "t", "f", 0, False, 1.0) for step in range(1, 1001)]
    assert {1, 1000} <= {r.step for r in sample(many, 400)}
