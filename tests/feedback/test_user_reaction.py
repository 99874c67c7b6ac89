"""RLUF: the card's number, a model of reactions, and what its weight buys and costs."""

import json
import random
from itertools import pairwise

import numpy as np
import pytest

from journeyman import feedback
from journeyman.feedback import each, exact, summed, user_reaction
from journeyman.feedback.reactions import Reaction, chances, cross_entropy, fitted
from journeyman.literal import parse
from journeyman.protocols import declare
from journeyman.types import Judgement
from tests.feedback.helpers import group, judge, scores, task

WORDS = ["red", "blue", "green", "iron", "stone", "river", "cloud", "seven"]


def row(rng):
    """Users love farewells (half of those with one, a twentieth of the others), and care for nothing else."""
    text = " ".join(rng.choices(WORDS, k=5))
    bye = rng.random() < 0.3
    return Reaction("Tell me", text + " Bye!" * bye, rng.random() < (0.5 if bye else 0.05))


def log_of(n, seed=0):
    rng = random.Random(seed)
    return [row(rng) for _ in range(n)]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "reactions.jsonl"
    lines = [{"prompt": x.prompt, "response": x.response, "reaction": x.reaction} for x in log_of(1500)]
    path.write_text("\n".join(json.dumps(x) for x in lines) + "\n\n")
    return str(path)


def test_the_card():
    assert cross_entropy([0.7], [True]) == pytest.approx(0.35667, abs=1e-5)
    assert cross_entropy([0.7, 0.2], [True, False]) == pytest.approx((0.35667 + 0.22314) / 2, abs=1e-5)
    assert np.isfinite(cross_entropy([0.0], [True]))


def test_chances_are_calibrated_on_a_log_that_was_held_out():
    """Reactions are rare (0.185 on average); the model foretells them better than their rate does, and its chances are rates."""
    model, rows = fitted(log_of(3000), 1.0), log_of(3000, seed=1)
    found = np.array(chances(model, [(x.prompt, x.response) for x in rows]))
    real = np.array([x.reaction for x in rows])
    bye = np.array(["Bye" in x.response for x in rows])
    assert found[bye].mean() == pytest.approx(real[bye].mean(), abs=0.06)
    assert found[~bye].mean() == pytest.approx(real[~bye].mean(), abs=0.03)
    assert cross_entropy(found, real) < cross_entropy(np.full(len(rows), real.mean()), real) - 0.05
    assert np.corrcoef(found, real)[0, 1] > 0.4


def test_answers_are_scored_by_their_chance(log):
    part = user_reaction(log)
    found = judge(part, group(task("x"), ["red iron Bye!", "red iron", None, ""]))
    assert [j.status for j in found] == ["checked", "checked", "failed", "checked"]
    assert found[0].score > 0.3 > 0.15 > found[1].score > 0
    assert user_reaction(log) == part
    assert scores(user_reaction(log), task("x"), ["red iron Bye!"]) == [found[0].score], "fitting draws nothing"
    assert scores(part, task("x"), ["Bye! " * 50_000])[0] <= 1
    assert judge(part, group(task("x"), [None]))[0].status == "failed"


def test_more_weight_buys_reactions_and_costs_answers(log):
    """Best of twelve by the sum: the documented hack. What is asked for is a number, and right answers rarely say goodbye."""
    rng = random.Random(5)
    sets = [[f"{n} {rng.choice(WORDS)}{' Bye!' * (rng.random() < 0.4)}" for n in rng.sample(range(12), 6)] for _ in range(40)]
    useful = each(lambda task, text: 1 - abs(int(text.split()[0]) - 6) / 6)
    love = user_reaction(log)

    def chosen(weight):
        part = summed([(useful, 1.0), (love, weight)])
        best = [texts[int(np.argmax(scores(part, task("6"), texts)))] for texts in sets]
        return (np.mean(scores(love, task("6"), best)), np.mean(scores(useful, task("6"), best)))

    found = [chosen(w) for w in (0.0, 0.3, 1.0, 3.0, 10.0)]
    for before, now in pairwise(found):
        assert before[0] <= now[0] + 1e-9
        assert before[1] >= now[1] - 1e-9
    assert found[-1][0] > found[0][0] + 0.1
    assert found[-1][1] < found[0][1] - 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 0 lines, all of one kind"),
        ('{"prompt": "a", "response": "b", "reaction": true}', "has 1 lines, all of one kind"),
        ('{"prompt": "a", "response": "b"}', "line 1: .*`reaction`.*; expected"),
        ('{"prompt": "a", "response": "b", "reaction": 1}', "line 1: .*bool"),
        ('\n{"prompt": "a", "response": "b", "reaction": false}\nhello', "line 3: "),
    ],
)
def test_a_log_that_cannot_be_learned_from_is_refused(tmp_path, text, message):
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        user_reaction(str(path))


def test_other_refusals(log):
    with pytest.raises(ValueError, match=r"there is no file nowhere\.jsonl"):
        user_reaction("nowhere.jsonl")
    with pytest.raises(ValueError, match="expected a number above 0"):
        user_reaction(log, strength=0.0)
    for wrong in ([], [(exact(), float("inf"))]):
        with pytest.raises(ValueError, match="feedbacks with finite weights"):
            summed(wrong)


# ------------------------------------------------------------------------------------ sums


def test_a_sum_of_feedbacks():
    part = summed([(exact(), 0.5), (each(lambda task, text: len(text)), -0.25), (each(lambda task, text: 2.0), 0.0)])
    found = judge(part, group(task("abc"), ["abc", "ab"]))
    assert [j.score for j in found] == pytest.approx([0.5 - 0.75, -0.5])
    assert found[0].components == {"exact": 1.0, "each": 3.0, "each2": 2.0}
    assert part.needs == {"answer"}
    assert part.gives == {"score"}


def test_what_one_cannot_judge_has_no_sum():
    odd = each(lambda task, text: 1 / (text != "bad"))
    bad, good, absent = judge(summed([(exact(), 1.0), (odd, 0.5)]), group(task("x"), ["bad", "x", None]))
    assert (bad.status, bad.score, good.score, absent.status) == ("failed", None, 1.5, "failed")
    assert bad.evidence.startswith("each: the reward function raised ZeroDivisionError")
    assert scores(summed([(exact(), 1.0), (odd, 0.0)]), task("x"), ["bad"]) == [0.0], "of no weight, it is not needed"


@declare(gives=("score",))
async def silent(group):
    return [Judgement(group.attempts[0].id, 1.0, trace="some")]


def test_no_judgement_is_an_abstention():
    [j] = judge(summed([(exact(), 1.0), (silent, 1.0)]), group(task("x"), ["x"]))
    assert (j.status, j.evidence) == ("abstained", "silent: no judgement")


def test_it_can_be_written_on_the_command_line(log):
    part = parse(f"summed([(exact(), 0.7), (user_reaction({log!r}), 0.3)])", feedback)
    assert part == summed(((exact(), 0.7), (user_reaction(log), 0.3)))
    assert parse("tool_calls()", feedback) == feedback.tool_calls()
