"""ToolRL's reward: the card's number, its edges, and texts that mean harm."""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.feedback import tool_calls
from journeyman.feedback.tool_match import Call, alike, match, overlap, read_calls
from tests.feedback.helpers import group, judge, scores, task


def call(name, **parameters):
    return {"name": name, "parameters": parameters}


def written(*calls, think="hm", response=None):
    lines = "\n".join(c if isinstance(c, str) else json.dumps(c) for c in calls)
    said = "" if response is None else f"\n<response>{response}</response>"
    return f"<think>{think}</think>" + (f"\n<tool_call>\n{lines}\n</tool_call>" if calls else "") + said


def wanted(*calls, response=False):
    return task({"calls": list(calls), "response": response})


ONE = wanted(call("f", a=1, b=2))


def test_the_card():
    """Right name, keys {a, c} for {a, b}, one value equal: (1 + 1/3 + 1) / 4, so 0.5, and 1 for the format."""
    [j] = judge(tool_calls(), group(ONE, [written(call("f", a=1, c=3))]))
    assert j.score == pytest.approx(1.5)
    assert j.components == pytest.approx({"format": 1.0, "correct": 0.5})


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (written(call("f", a=1, b=2)), 4.0),
        (written(call("f", b=2.0, a=1)), 4.0),
        (written(call("f", a=1, b=2), call("f", a=1, b=2)), 4 - 6 * 0.5 / 4),  # names {f} and {f, f}
        (written(call("g", a=1, b=2)), -2.0),
        (written(call("f")), 1 + 6 / 4 - 3),
        (written(call("f", a=True, b="2")), 1 + 6 * 2 / 4 - 3),  # true is not 1, "2" is not 2
        (written("not json"), -2.0),
        (written(call("f", a=1, b=2), "not json"), -2.0),
        (written('{"name": "f"}'), -2.0),
        (written('{"name": 3, "parameters": {}}'), -2.0),
        (written('[{"name": "f", "parameters": {"a": 1, "b": 2}}]'), -2.0),
        ("<think>hm</think>", -3.0),
        ("", -3.0),
        (json.dumps(call("f", a=1, b=2)), -3.0),
        (written(call("f", a=1, b=2), response="done"), 3.0),  # a response that nobody wants
        (written(call("f", a=1, b=2)).replace("<think>hm</think>\n", ""), 3.0),
        ("Sure! " + written(call("f", a=1, b=2)), 3.0),
        (written(call("f", a=1, b=2)).replace("\n", ""), 3.0),
        ("\n" + written(call("f", a=1, b=2)) + "  \n", 4.0),
        (written(call("f", a=1, b=2), think="<think>"), 3.0),
        (written(call("f", a=1, b=2)) + "\n<tool_call>\n" + json.dumps(call("g")) + "\n</tool_call>", -3.0),  # a hedge
        ("<tool_call>" * 2 + json.dumps(call("f", a=1, b=2)) + "</tool_call>", -3.0),
        ("</tool_call>" + json.dumps(call("f", a=1, b=2)) + "<tool_call>", -3.0),
    ],
)
def test_one_call_wanted(text, score):
    assert scores(tool_calls(), ONE, [text]) == pytest.approx([score])


@pytest.mark.parametrize(
    ("gold", "text", "score"),
    [
        (wanted(response=True), written(response="hello"), 1.0),
        (wanted(response=True), written(call("f"), response="hello"), 0.0),
        (wanted(response=True), "hello", 0.0),
        (wanted(), written(), 1.0),
        (wanted(), written(response="hello"), 0.0),
        (wanted(call("f"), response=True), written(call("f"), response="hello"), 4.0),
        (wanted(call("f"), response=True), written(call("f")), 3.0),
        (wanted(call("f"), call("g", x=[1, {"y": None}])), written(call("g", x=[1, {"y": None}]), call("f")), 4.0),
        (wanted(call("f", a=1), call("f", a=2)), written(call("f", a=2), call("f", a=1)), 4.0),
        (wanted(call("f", a=1), call("f", a=2)), written(call("f", a=2)), 1 + 6 * (0.5 + 1) / 5 - 3),  # the first takes it
    ],
)
def test_other_wishes(gold, text, score):
    assert scores(tool_calls(), gold, [text]) == pytest.approx([score])


def test_a_call_is_counted_once():
    """One predicted call cannot stand for two that are wanted, and the better of two is taken."""
    twice = [Call("f", {"a": 1}), Call("f", {"a": 1})]
    assert match(twice, twice) == 1
    assert match(twice, twice[:1]) == pytest.approx((0.5 + 2) / 5)
    assert match(twice[:1], [Call("f", {"b": 1}), Call("f", {"a": 1})]) == pytest.approx((0.5 + 2) / 3)
    assert overlap("aab", "abb") == 0.5
    assert overlap("", "") == 1
    assert alike(1, 1.0)
    assert not any(alike(*x) for x in [(1, True), (0, False), ("1", 1), (None, False), ([1], [1, 1]), ({"a": 1}, {"a": True})])


@pytest.mark.parametrize("gold", [None, "f(a=1)", {}, {"calls": [{"name": "f"}]}, {"calls": [], "anwser": 1}, [call("f")]])
def test_a_task_that_wants_nothing_readable_is_failed(gold):
    found = judge(tool_calls(), group(task(gold), [written(call("f")), None]))
    if gold == {}:
        assert [j.status for j in found] == ["checked", "failed"], "no call and no response are wanted"
    else:
        assert {(j.status, j.score) for j in found} == {("failed", None)}
        assert "expected an answer such as" in found[0].evidence


HOSTILE = [
    written("[" * 100_000),
    written('{"name": "f", "parameters": ' + '{"a":' * 3000 + "1" + "}" * 3001),
    written('{"name": "f", "parameters": {"a": ' + "9" * 6000 + "}}"),
    written('{"name": "f", "parameters": {"a": 1e999}}'),
    written('{"name": "f", "parameters": {"a": NaN}}'),
    written('{"name": "f", "parameters": {"a": "\ud800"}}'),
    written('{"name": "f\x00", "parameters": {}}'),
    "<tool_call>\n" * 3000,
    "<think>" + "</think>\n<tool_call>\n" * 900,
    written(*[call("f", a=1, b=2)] * 400),
    written(call("f", a=1, b=2), think="x" * 10**6),
    "\n" * 19_000 + written(call("f", a=1, b=2)),
]


@pytest.mark.parametrize("k", range(len(HOSTILE)))
def test_hostile_texts_are_judged_and_never_right(k):
    [j] = judge(tool_calls(), group(ONE, [HOSTILE[k]]))
    assert j.status == "checked"
    if k == len(HOSTILE) - 1:
        assert j.score == 4.0, "only blanks are too many"
    elif k == len(HOSTILE) - 3:
        assert j.score == pytest.approx(1 + 6 * (1 / 400 + 3) / 4 - 3), "the right call 400 times costs its names' overlap alone"
    else:
        assert j.score <= 1.0
    assert read_calls(HOSTILE[0]) is None


TAGS = [f"<{slash}{name}>" for name in ("think", "tool_call", "response") for slash in ("", "/")]
WHOLE = [json.dumps(call("f", a=1, b=2)), json.dumps(call("f"))]
PIECES = st.sampled_from([*TAGS, *WHOLE, "\n", "{", "}", '"name"', '"parameters"', ":", "[", "]", "\\u0000", "1", "true", ","])


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=25).map("".join)), st.booleans(), st.booleans())
def test_any_text_gets_a_score_in_range(text, called, response):
    gold = wanted(*[call("f", a=1, b=2)] * called, response=response)
    [j] = judge(tool_calls(), group(gold, [text]))
    assert j.status == "checked"
    assert j.score == j.components["format"] + j.components["correct"]
    assert j.components["format"] in (0.0, 1.0)
    assert -3 <= j.components["correct"] <= 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=2), x, max_size=3),
    max_leaves=5,
)
PARAMETERS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)
CALLS = st.lists(st.builds(Call, st.sampled_from("fg"), PARAMETERS), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(CALLS, CALLS)
def test_full_marks_are_for_the_same_calls_in_any_order(one, other):
    assert match(one, one[::-1]) == pytest.approx(1)
    found = match(one, other)
    assert 0 <= found <= 1 + 1e-12
    if found > 1 - 1e-9:
        left = list(other)
        for x in one:
            left.remove(next(y for y in left if y.name == x.name and alike(x.parameters, y.parameters)))
        assert not left


def test_siblings_differ_where_a_binary_match_sees_none_right():
    """Groups of 8 that are wrong in one to three places: graded scores differ in most groups, where right or wrong says nothing."""
    rng, gold = random.Random(0), call("f", a=1, b=2, c=3)

    def spoiled():
        parameters = dict(gold["parameters"])
        for key in rng.sample("abc", rng.choice([1, 1, 2, 3])):
            value = parameters.pop(key)
            parameters |= rng.choice([{}, {key: value + 1}, {key + key: value}])
        return written(call(rng.choice(["f", "f", "f", "g"]), **parameters))

    groups = [scores(tool_calls(), wanted(gold), [spoiled() for _ in range(8)]) for _ in range(100)]
    graded = np.mean([np.ptp(g) > 0 for g in groups])
    binary = np.mean([len({s == 4.0 for s in g}) > 1 for g in groups])
    assert binary == 0
    assert graded > 0.9
