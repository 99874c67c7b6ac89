"""ACE-RL's checklist: the card's number, the band of lengths, and verifiers of both kinds."""

import asyncio

import pytest

from journeyman.feedback import checklist
from journeyman.feedback.verifiers import ASK_CONSTRAINT, asked, by_rules
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.testing import ScriptedPolicy
from journeyman.types import Cost
from tests.feedback.helpers import group, judge, scores, task

FOUR = ["a", "b", "c", "d"]


def says(labels):
    """A verifier that gives these labels by constraint; an exception is raised."""

    async def verify(task, text, constraint):
        found = labels[constraint]
        if isinstance(found, Exception):
            raise found
        return found

    return verify


def wanted(*constraints, **more):
    return task({"constraints": list(constraints), **more})


def test_the_card():
    [j] = judge(checklist(says(dict(zip(FOUR, [1, 0.5, 0, 1], strict=True)))), group(wanted(*FOUR), ["text"]))
    assert j.score == 0.625
    assert j.components == {"constraints": 0.625}
    assert j.evidence == "a: 1\nb: 0.5\nc: 0\nd: 1"


@pytest.mark.parametrize(
    ("count", "length"),
    [(100, 1.0), (90, 1.0), (110, 1.0), (55, 0.55 / 0.9), (145, 0.55 / 0.9), (10, 0.1 / 0.9), (0, 0.0), (200, 0.0), (5000, 0.0)],
)
def test_the_length_band(count, length):
    gold, text = wanted("a", words=100), " ".join(["word"] * count)
    [j] = judge(checklist(says({"a": 0.5})), group(gold, [text]))
    assert j.components == pytest.approx({"constraints": 0.5, "length": length})
    assert j.score == pytest.approx(0.25 + length / 2)
    assert scores(checklist(says({"a": 0.5}), share=0.0), gold, [text]) == [0.5]
    assert scores(checklist(says({"a": 0.5}), share=1.0), gold, [text]) == pytest.approx([length])


def test_what_has_no_label_is_left_out_and_nothing_is_abstained():
    labels = {"a": 1, "b": None, "c": 0.5, "d": None}
    assert scores(checklist(says(labels)), wanted(*FOUR), ["text"]) == [0.75]
    [j] = judge(checklist(says(labels)), group(wanted("b", "d", words=1), ["text"]))
    assert (j.status, j.score) == ("abstained", None)
    assert judge(checklist(says({})), group(wanted(), ["text"]))[0].status == "abstained"


@pytest.mark.parametrize("odd", [ValueError("no"), 2.0, -0.5, float("nan")])
def test_a_broken_verifier_costs_its_own_attempt(odd):
    async def verify(task, text, constraint):
        return await says({"a": odd if text == "bad" else 1})(task, text, constraint)

    bad, good, absent = judge(checklist(verify), group(wanted("a"), ["bad", "good", None]))
    assert (bad.status, good.score, absent.status) == ("failed", 1.0, "failed")
    assert "the verifier gave" in bad.evidence


@pytest.mark.parametrize(
    "gold", [None, "a poem", {"constraints": "a"}, {"constraint": ["a"]}, {"constraints": ["a"], "words": "many"}]
)
def test_a_task_without_a_checklist_is_failed(gold):
    [j] = judge(checklist(says({"a": 1})), group(task(gold), ["text"]))
    assert j.status == "failed"
    assert "has no checklist" in j.evidence


def test_equal_texts_are_judged_once_and_rules_abstain_on_what_they_do_not_know():
    seen = []

    def polite(text):
        seen.append(text)
        return float("thanks" in text)

    part = checklist(by_rules({"is polite": polite}))
    assert scores(part, wanted("is polite", "rhymes"), ["thanks", "no", "thanks"]) == [1.0, 0.0, 1.0]
    assert seen == ["thanks", "no"]


def verdict(text, rng):
    """A model that reads only what stands between the text and the question it is asked."""
    said, constraint = (part.split("\n\n")[0] for part in text.rsplit("Text: ", 1)[1].split("Constraint: "))
    return {"names a harbour": "full" if "Oslo" in said else "none", "rhymes": "partial.", "vague": "full or partial"}[constraint]


def test_a_model_is_asked_about_each_constraint_and_its_cost_is_counted():
    policy = ScriptedPolicy(verdict, name="judge")
    gold = wanted("names a harbour", "rhymes", "vague", "names a harbour")
    runner = Runner(sample(), checklist(asked(policy)))
    found = asyncio.run(runner.judge({}, group(gold, ["Oslo", "Paris", "Oslo"]))).judgements
    assert [j.score for j in found] == pytest.approx([2.5 / 3, 0.5 / 3, 2.5 / 3])
    assert found[0].cost.calls == len(policy.calls) == 8
    assert found[1].cost == Cost()
    assert policy.calls[0][1].startswith("user: Task: ?\n\nText: Oslo\n\nConstraint: names a harbour\n\n" + ASK_CONSTRAINT)


def test_the_same_group_is_judged_alike_however_long_the_model_takes():
    def tossed(text, rng):
        return rng.choice(["full", "partial", "none"])

    delays = iter([0.02, 0.0, 0.01, 0.0] * 20)
    gold, found = wanted(*FOUR), []
    for delay in (0.0, lambda: next(delays)):
        runner = Runner(sample(), checklist(asked(ScriptedPolicy(tossed, delay=delay), temperature=1.0)), seed=3)
        found.append([j.evidence for j in asyncio.run(runner.judge({}, group(gold, ["x", "y", "z"]))).judgements])
    assert found[0] == found[1]
    assert len(set(found[0])) > 1


def test_impossible_settings_are_refused():
    for wrong in ({"share": 1.5}, {"share": -0.1}, {"tolerance": 1.0}):
        with pytest.raises(ValueError, match="from 0 to 1"):
            checklist(says({}), **wrong)
