r"""Both sides of the mathematical verifier; the traps of Math-Verify 0.9.0 are pinned by name."""

import asyncio
import time

import pytest

from journeyman.feedback import math_equal
from journeyman.feedback.math_equal import STAGES
from journeyman.workers import shared
from tests.feedback.helpers import collect, group, judge, scores, task

EQUAL = [
    ("1/2", "0.50", "exact"),
    (r"\frac{14}{3}", "14/3", "exact"),
    (r"\text{Evelyn}", "Evelyn", "exact"),
    (r"\text{(C)}", "C", "exact"),
    ("18", r"\$18.00", "exact"),
    ("10", r"10\%", "numeric"),
    (r"10\%", "0.1", "numeric"),
    (r"90^\circ", "90", "symbolic"),
    ("x=5", "5", "symbolic"),
    ("1,-2", "-2,1", "symbolic"),
    (r"\frac{3\sqrt{3}}{4}", "3*sqrt(3)/4", "symbolic"),
    (r"11\sqrt2", r"11\sqrt{2}", "symbolic"),
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}", "symbolic"),
    (r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}", r"\begin{pmatrix}-\frac{1}{3}\\ \frac23\end{pmatrix}", "symbolic"),
    ("2k+2", "2(k+1)", "symbolic"),
    (r"\cot x", r"\frac{1}{\tan x}", "symbolic"),
    ("6+9i", "9i+6", "symbolic"),
    ("18", r"18\text{ cm}", "symbolic"),
    (r"\frac{x}{2}", "0.5x", "symbolic"),
]

DIFFERENT = [
    ("1/3", "0.333"),
    ("1/3", "0.333333333"),
    ("1", "0.9999999"),
    ("10", "0.1"),
    ("1000", "1009"),
    (r"\pi", "3.14159"),
    (r"1/2^{99}", r"1/2^{98}"),  # tiny numbers vanish in Math-Verify's rounding
    ("1/2004!", "1/2006!"),
    (r"10^{-9}", "0"),
    ("3*x-1*y+13=0", "3x+4y+14=0"),  # without a fence both parse to 0
    ("4", r"4\sqrt(2)"),
    ("4", r"4\sqrt{2}"),
    (r"\text{east}", "seat"),  # as products of letters they are equal
    ("east", "seat"),
    ("52_8", "52_9"),  # the base is dropped in parsing
    ("(1,-2)", "(-2,1)"),
    ("2", r"2 \text{ or } 3"),
    ("5", "5 but not 7"),
    ("5", "4, 5"),
    ("5", r"\frac{5"),
    ("5", "???"),
    (r"\sqrt{2}", "x" * 3000),
    (r"\sqrt{2}", "9" * 100_000),
]


@pytest.mark.parametrize(("gold", "answer", "stage"), EQUAL)
def test_equal_answers(gold, answer, stage):
    [judgement] = judge(math_equal(), group(task(gold, "boxed"), [rf"so \boxed{{{answer}}}."]))
    assert (judgement.score, STAGES[int(judgement.components["stage"])]) == (1.0, stage)
    assert judgement.evidence.startswith(stage)


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_different_answers(gold, answer):
    assert scores(math_equal(), task(gold, "boxed"), [rf"so \boxed{{{answer}}}."]) == [0.0]


@pytest.mark.parametrize(
    "text", [r"\boxed{4} ... \boxed{5}", r"\boxed{5} ... \boxed{4}", "it is 4", "", r"\boxed{}", "garbage \x00 }{"]
)
def test_hedges_and_texts_without_an_answer_score_zero(text):
    [judgement] = judge(math_equal(), group(task("4", "boxed"), [text]))
    assert (judgement.score, judgement.status, STAGES[int(judgement.components["stage"])]) == (0.0, "checked", "extract")


def test_a_gold_that_cannot_be_parsed_is_an_abstention():
    [judgement] = judge(math_equal(), group(task("???", "text"), ["5x"]))
    assert (judgement.score, judgement.status) == (None, "abstained")


def test_no_answer_and_no_gold_are_failures():
    statuses = [j.status for j in judge(math_equal(), group(task("4"), [None, "4"]))]
    assert statuses == ["failed", "checked"]
    [judgement] = judge(math_equal(), group(task({"test": ""}), ["4"]))
    assert judgement.status == "failed"


HOSTILE = ["9^{9^{9^9}}", "10000000!", r"2^{10^{12}}", "(" * 1900]


def test_hostile_answers_neither_block_the_loop_nor_leak_processes_nor_harm_siblings():
    """In its own process Math-Verify holds the interpreter for its full 5 s, and its time-outs work in no thread."""

    async def main():
        answers = [*HOSTILE, r"2\sqrt{3}", r"\sqrt{12}", "7"]
        judging = asyncio.ensure_future(collect(math_equal(deadline=1.0), group(task(r"2\sqrt{3}"), answers)))
        longest = last = 0.0
        while not judging.done():
            began = time.monotonic()
            await asyncio.sleep(0.005)
            last = time.monotonic() - began
            longest = max(longest, last)
        return await judging, longest

    scores(math_equal(), task("x^2"), ["x+x"])  # so that workers have imported the library
    began = time.monotonic()
    judged, longest = asyncio.run(main())
    assert time.monotonic() - began < 10
    assert longest < 0.5
    assert [j.status for j in judged[: len(HOSTILE)]] == ["timed_out"] * len(HOSTILE)
    assert [j.score for j in judged[len(HOSTILE) :]] == [1.0, 1.0, 0.0]
    assert len(shared().pids()) <= shared().size


def test_many_checks_at_once():
    answers = [rf"x^{{{n}}}" for n in range(2, 60)]
    judged = judge(math_equal(deadline=20), group(task("x*x"), answers))
    assert [j.score for j in judged] == [1.0] + [0.0] * 57
