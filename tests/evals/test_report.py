"""Reports of judged groups."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from journeyman.evals import interval_clustered, summarise
from journeyman.types import Answer, Assignment, Attempt, Cost, Group, Judgement, Task, Trace, user


def group(task: Task, *outcomes: str, start: int = 0) -> Group:
    """Outcomes: an answer text, or "abstain", "broken" (the strategy raised), "cut" (wrong and out of length), "unjudged"."""
    attempts, judgements = [], []
    for i, outcome in enumerate(outcomes, start):
        id = f"{task.id}/{i}"
        trace = Trace(f"{id}:0", text=outcome, stop_reason="length" if outcome == "cut" else "end", sampled_tokens=10)
        broken = outcome == "broken"
        answer = None if broken else Answer(outcome, trace.id)
        attempts.append(Attempt(id, task.id, answer, () if broken else (trace,), "boom" if broken else None, 0, Cost(5, 10, 1)))
        if outcome in ("abstain", "broken"):
            judgements.append(Judgement(id, None, "abstained"))
        elif outcome != "unjudged":
            judgements.append(Judgement(id, float(outcome == task.answer)))
    return Group(task.id, Assignment(task, len(outcomes)), tuple(attempts), tuple(judgements))


A = Task("a", user("2+2"), "4", source="sum", level=1)
B = Task("b", user("3+9"), "12", source="sum", level=2)
C = Task("c", user("2*3"), "6", source="product", level=1)
GROUPS = [group(A, "4", "4", "5", "4"), group(B, "abstain", "cut", "broken", "12"), group(C, "7", "7", "6", "unjudged")]


def test_a_report_by_hand() -> None:
    report = summarise(GROUPS, k=2)
    overall = report.overall
    assert (overall.n_tasks, overall.n_samples) == (3, 12)
    assert overall.pass_1 == interval_clustered([0.75, 0.25, 0.25])
    assert overall.pass_k.mean == pytest.approx((1.0 + 0.5 + 0.5) / 3)
    # a: of 6 pairs 3 are (4, 4) and 3 tie; b: every value differs and one attempt is silent: (12, x) ties twice, (12, -)
    # wins once; c: 7 7 6 and "unjudged": 6 ties with each of three others
    assert overall.maj_k.mean == pytest.approx((4.5 / 6 + 2 / 6 + 1.5 / 6) / 3)
    assert overall.statuses == {"abstained": 1, "checked": 9, "error": 1, "unjudged": 1}
    assert overall.unanswered == pytest.approx(3 / 12)
    assert overall.stops == {"end": 10 / 12, "length": 1 / 12, "none": 1 / 12}
    assert (overall.prompt_tokens, overall.sampled_tokens, overall.mean_length) == (60, 120, 10.0)
    assert {name: part.n_tasks for name, part in report.families.items()} == {"product": 1, "sum": 2}
    assert {level: part.n_tasks for level, part in report.levels.items()} == {1: 2, 2: 1}
    assert list(report.cells) == [("product", 1), ("sum", 1), ("sum", 2)]
    assert report.cells["sum", 2].pass_1.mean == 0.25


def test_groups_of_one_task_are_joined() -> None:
    halves = [group(A, "4", "4"), group(A, "5", "4", start=2), *GROUPS[1:]]
    assert summarise(halves, k=4) == summarise(GROUPS, k=4)
    with pytest.raises(ValueError, match="k = 3, but task 'a' has 2 attempts"):
        summarise(halves[:1], k=3)


def test_threshold_and_own_values() -> None:
    half = Group("a", Assignment(A, 1), (Attempt("x", "a", Answer("4")),), (Judgement("x", 0.5),))
    assert summarise([half]).overall.pass_1.mean == 0.0
    assert summarise([half], threshold=0.5).overall.pass_1.mean == 1.0
    one_voice = summarise([GROUPS[2]], k=4, value=lambda task, answer: "same")
    assert one_voice.overall.maj_k.mean == pytest.approx(1 / 4)


def test_nothing_to_report() -> None:
    for groups in ([], [Group("a", Assignment(A, 0), ())]):
        with pytest.raises(ValueError, match="nothing to summarise"):
            summarise(groups)


def test_json_is_plain_and_complete() -> None:
    document = json.loads(json.dumps(summarise(GROUPS, k=2).to_json(), allow_nan=False))
    assert document["overall"]["pass_1"]["mean"] == pytest.approx(5 / 12)
    assert document["overall"]["unanswered"] == pytest.approx(0.25)
    assert set(document["levels"]) == {"1", "2"}
    assert [(c["family"], c["level"], c["n_tasks"]) for c in document["cells"]] == [("product", 1, 1), ("sum", 1, 1), ("sum", 2, 1)]
    assert "not correct" in document["rule"]


def printed(report, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(report.table("held-out"))
    return console.file.getvalue()


def test_the_table_shows_every_slice() -> None:
    text = printed(summarise(GROUPS, k=2), 80)
    for wanted in ("held-out", "pass@2", "maj@2", "all", "product", "level 2", "3x4", "41.7", "25.0", "4-93"):
        assert wanted in text
    assert "…" not in text  # nothing is cut at 80 columns
    assert text.count("level 1") == 3  # over all, and within each family
    single = printed(summarise([group(A, "4", "5")]), 80)
    assert "maj" not in single
    assert "level" not in single
