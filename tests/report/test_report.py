"""A report's numbers are the run's, its page is safe and small, and a run that is not complete has one too."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import pytest

import journeyman.report
from journeyman.evaluation import step_metrics
from journeyman.report import write_report
from journeyman.report.browse import sample
from journeyman.report.change import difference
from journeyman.report.facts import gather
from journeyman.report.figures import figures
from journeyman.report.outline import Row
from journeyman.store import Session, Store
from journeyman.testing import sums
from journeyman.types import Answer, Attempt, Judgement, Trace
from tests.report.made import HOSTILE, RECORD, attempts, hostile_run


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
    for name in ("expert", "gap"):
        gap = next(t for t in drawn[name]["data"] if t.get("name") == "gap")
        assert gap["y"] == pytest.approx([100 * (facts.metrics[s]["solved"] - facts.metrics[s]["accuracy"]) for s in (1, 2, 3)])
    assert all(r.gap.low < r.gap.mean < r.gap.high for r in facts.rounds)


def test_every_figure_is_one_that_plotly_knows(run: Path) -> None:
    for found in figures(gather(run)):
        text = re.sub(r'"@[a-z]+(/[0-9.]+)?"', '"#123456"', json.dumps({"data": found["data"], "layout": found["layout"]}))
        go.Figure(json.loads(text))  # refuses unknown properties and values
        assert found["title"]


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    folder = hostile_run(tmp_path / "run")
    page = page_of(folder, tmp_path / "r.html")
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert not [name for _, known in page.tags for name in known if name.startswith("on")]
    assert sum(tag == "script" for tag, _ in page.tags) == 4  # headline, data, plotly, ours
    first, second, third = page.json["data"]["attempts"]
    assert first["prompt"] == [{"role": "user", "content": HOSTILE}]
    assert first["traces"][0]["text"] == HOSTILE + "\ud800"
    assert first["traces"][0]["marks"] == {HOSTILE: HOSTILE}
    assert first["traces"][1]["parent"] == first["traces"][0]["id"]
    assert first["traces"][1]["judgements"][0]["score"] == 0.25
    assert (first["outcome"], second["outcome"], second["error"]) == ("wrong", "error", HOSTILE)
    assert HOSTILE.replace("\x1b", "\\x1b") in page.text  # the arguments, as text
    assert "\x1b" not in (tmp_path / "r.html").read_text()
    assert "more characters in the run folder" in third["answer"]
    assert len(third["answer"]) < 13_000
    assert (tmp_path / "r.html").stat().st_size < 3_000_000


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
    assert page.json["data"] == {"figures": {}, "attempts": [], "version": "", "state": ""}


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


def estimate(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def test_a_difference_is_newcombes() -> None:
    """Newcombe 1998, table II, example (a): 56/70 against 48/80 gives +0.2 with 0.0524 to 0.3339 by method 10."""
    old, new = {"mean": 0.6, "low": 0.4905, "high": 0.7003}, {"mean": 0.8, "low": 0.6917, "high": 0.8774}
    found = difference(new, old)
    assert [round(found[key], 3) for key in ("mean", "low", "high")] == [0.2, 0.052, 0.334]


@pytest.mark.parametrize(("after", "half", "turn"), [(0.9, 0.05, 1), (0.1, 0.05, -1), (0.6, 0.2, 0), (0.5, 0.0, 0)])
def test_titles_claim_a_change_only_where_its_interval_leaves_out_zero(run: Path, after: float, half: float, turn: int) -> None:
    """Every figure that compares says "rose", "above" or "better" for a clear gain, and "no clear ..." for the rest."""
    facts = gather(run)
    assert facts.before
    assert facts.after
    old, new = estimate(0.5, half), estimate(after, half)
    told = {"pass_1": old, "pass_k": old, "maj_k": old}
    before = {
        **facts.before,
        "overall": {**facts.before["overall"], **told},
        "cells": [{**c, **told} for c in facts.before["cells"] * 2],
    }
    told = {"pass_1": new, "pass_k": new, "maj_k": new}
    sat = {**facts.after, "overall": {**facts.after["overall"], **told}, "cells": [{**c, **told} for c in facts.after["cells"] * 2]}
    change = estimate(after - 0.5, half)
    titles = {f["id"]: f["title"] for f in figures(replace(facts, before=before, after=sat, change=change))}
    words = {
        1: ("rose", "above", "clearly better"),
        -1: ("fell", "below", "clearly worse"),
        0: ("no clear", "no clear", "No clear"),
    }
    for name, word in zip(("learning", "passes", "cells"), words[turn], strict=True):
        assert word in titles[name]
        assert not any(other in titles[name] for key in words if key != turn for other in words[key] if other != "clearly better")
    halfway = {1: {"eval/accuracy": after, "eval/accuracy/low": after - half, "eval/accuracy/high": after + half}}
    going = replace(facts, before=before, after=None, change=None, metrics=halfway)
    title = next(f["title"] for f in figures(going) if f["id"] == "learning")
    assert words[turn][0] in title
    assert title.endswith("after step 1)") == (turn == 0)


def test_the_store_lists_attempts_with_their_tasks_where_asked(run: Path) -> None:
    with Store(run).open(readonly=True) as store:
        found, known = store.listing(), list(store.attempts())
        some = store.listing([known[5].attempt.id, known[1].attempt.id, "9/9/9"])
    assert [(x.step, x.ordinal, x.sibling, x.id) for x in found] == [(k.step, k.ordinal, k.sibling, k.attempt.id) for k in known]
    assert [(x.task_id, x.source, x.level) for x in found] == [(k.task.id, k.task.source, k.task.level) for k in known]
    assert [(x.failed, x.score) for x in found] == [(k.attempt.error is not None, k.judgements[0].score) for k in known]
    assert {x.task for x in found} == {None}
    assert [(x.id, x.task) for x in some] == [(known[i].attempt.id, known[i].task) for i in (1, 5)]


def test_nothing_private_of_the_store_is_used() -> None:
    folder = Path(journeyman.report.__file__).parent
    assert not [path.name for path in folder.glob("*.py") if "store._" in path.read_text()]


def test_the_page_names_no_other_resource(run: Path, tmp_path: Path) -> None:
    page = page_of(run, tmp_path / "r.html")
    named = {value for _, known in page.tags for key, value in known.items() if key in ("src", "href", "srcset", "action", "data")}
    assert named <= {"data:,"}
    style = (Path(journeyman.report.__file__).parent / "page" / "style.css").read_text()
    assert "url(" not in style
    assert "@import" not in style


def test_the_sample_holds_every_step_and_every_outcome() -> None:
    rows = [Row(step, i, 0, f"{step}/{i}/0", "t", "f", 0, False, float(i == 7)) for step in range(1, 21) for i in range(100)]
    chosen = sample(rows, 400)
    assert len(chosen) == 400
    assert {(r.step, r.outcome) for r in chosen} == {(s, o) for s in range(1, 21) for o in ("correct", "wrong")}
    assert chosen == sample(rows[::-1], 400)
    many = [Row(step, 0, 0, f"{step}/0/0", "t", "f", 0, False, 1.0) for step in range(1, 1001)]
    assert {1, 1000} <= {r.step for r in sample(many, 400)}
