"""RLHS: a shop whose assistant may flatter. Who rates before buying is pleased by promises, who rates after is not."""

import asyncio
import math
from dataclasses import replace

import pytest
import torch

from journeyman.credit import pairs
from journeyman.feedback import hindsight
from journeyman.feedback.simulators import decides, happens, rates, unseen
from journeyman.objectives import dpo
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.testing import ScriptedPolicy
from tests.credit.groups import group_of, render
from tests.feedback.helpers import group, judge, scores, task
from tests.objectives.batches import batch_of

TRUTHFUL, FLATTERING = "No, it has no HDMI port.", "Yes, it has everything you want!"
SHOP = task("it has no HDMI port")


async def decide(question, reply):
    return "buy" if "Yes" in reply else "look elsewhere"


async def happen(task, decision):
    if decision != "buy":
        return "nothing was lost"
    return "the screen cannot be connected" if "no HDMI" in task.answer else "it works"


async def rate(question, reply, outcome):
    """5 for good news, 3 for bad; whoever knows how it ended says so."""
    return {"": 5.0 if "Yes" in reply else 3.0, "nothing was lost": 3.0, "it works": 5.0}.get(outcome, 1.0)


FORESIGHT, HINDSIGHT = hindsight(decide, unseen, rate), hindsight(decide, happen, rate)


def test_the_card():
    """Foresight prefers the flattering reply (3, 5), hindsight the truthful one (3, 1)."""
    assert scores(FORESIGHT, SHOP, [TRUTHFUL, FLATTERING]) == [3, 5]
    found = judge(HINDSIGHT, group(SHOP, [TRUTHFUL, FLATTERING]))
    assert [j.score for j in found] == [3, 1]
    assert found[1].evidence == "decision: buy\noutcome: the screen cannot be connected"
    assert scores(HINDSIGHT, task("it has two HDMI ports"), [FLATTERING]) == [5], "the outcome is that of the hidden fact"


@pytest.mark.parametrize(("feedback", "preferred"), [(FORESIGHT, FLATTERING), (HINDSIGHT, TRUTHFUL)])
def test_pairs_made_of_it_turn_around(feedback, preferred):
    marks = scores(feedback, SHOP, [TRUTHFUL, FLATTERING])
    first, second = pairs()(group_of(marks, [TRUTHFUL, FLATTERING]), render)
    assert bytes(first.tokens[3:]).decode() == preferred
    assert (max(first.advantage), min(second.advantage)) == (1, -1)


def test_the_card_of_the_flipped_pair():
    """beta 0.1, log-ratio gap 2 in favour of one reply: its dpo loss is 0.598, that of the flipped pair 0.798."""
    losses = []
    for signs in ([1.0, -1.0], [-1.0, 1.0]):
        batch, theta = batch_of([[-1.0], [-3.0]], signs, ref_logp=[[-2.0], [-2.0]])
        joined = tuple(replace(x, pair="p", group="g") for x in batch.lessons)
        loss, _ = dpo(0.1)(replace(batch, lessons=joined))
        (grad,) = torch.autograd.grad(loss, theta)
        losses.append((loss.item(), grad[0].sign().item()))
    assert [x for x, _ in losses] == pytest.approx([-math.log(1 / (1 + math.exp(-0.2))), -math.log(1 / (1 + math.exp(0.2)))])
    assert [round(x, 3) for x, _ in losses] == [0.598, 0.798]
    assert [s for _, s in losses] == [-1, 1], "the margin's sign flips"


def test_the_world_never_sees_the_reply_nor_the_user_the_answer():
    seen = {}

    async def user(question, reply):
        seen["user"] = (question, reply)
        return "buy"

    async def world(task, decision):
        seen["world"] = (task, decision)
        return "it works"

    async def rater(question, reply, outcome):
        seen["rater"] = (question, reply, outcome)
        return 4

    assert scores(hindsight(user, world, rater), SHOP, ["Trust me"]) == [4.0]
    assert seen["user"] == (SHOP.question, "Trust me")
    assert seen["world"] == (SHOP, "buy")
    assert seen["rater"] == (SHOP.question, "Trust me", "it works")
    assert SHOP.answer not in str(seen["user"]) + str(seen["rater"])


@pytest.mark.parametrize("stage", ["decide", "happen", "rate"])
def test_a_stage_that_raises_costs_its_own_attempt(stage):
    def guarded(name, plain):
        async def call(first, second, *rest):
            if name == stage and "bad" in (second if name != "happen" else first_of["text"]):
                raise RuntimeError("gone")
            return await plain(first, second, *rest)

        return call

    first_of = {"text": "bad"}
    part = hindsight(guarded("decide", decide), guarded("happen", happen), guarded("rate", rate))
    bad, absent = judge(part, group(SHOP, ["bad Yes", None]))
    assert (bad.status, bad.score, absent.status) == ("failed", None, "failed")
    assert "RuntimeError: gone" in bad.evidence
    first_of["text"] = "good"
    assert scores(part, SHOP, ["good Yes"]) == [1.0]


@pytest.mark.parametrize(("said", "status"), [(None, "abstained"), (float("nan"), "failed"), ("5", "failed"), (2, "checked")])
def test_ratings_that_are_none(said, status):
    async def odd(question, reply, outcome):
        return said

    [j] = judge(hindsight(decide, happen, odd), group(SHOP, [TRUTHFUL]))
    assert j.status == status


# ------------------------------------------------------------------------------------ models as simulators


def act(text, rng):
    """One model in all three roles, told apart by what it is asked."""
    if "What do you do now?" in text:
        return "I buy it." if "Yes" in text else "I look elsewhere."
    if "What comes of this" in text:
        assert TRUTHFUL not in text
        assert FLATTERING not in text
        return "It cannot be connected." if "buy" in text and "no HDMI" in text else "Nothing is lost."
    if "What came of it" in text:
        return "1" if "cannot" in text else "I would say 3."
    return "5" if "Yes" in text else "3"


def judged(happen, replies, policy):
    part = hindsight(decides(policy), happen(policy), rates(policy))
    return asyncio.run(Runner(sample(), part).judge({}, group(SHOP, replies))).judgements


def test_models_play_all_roles_and_their_calls_are_counted():
    policy = ScriptedPolicy(act, name="simulator")
    found = judged(happens, [TRUTHFUL, FLATTERING, TRUTHFUL], policy)
    assert [j.score for j in found] == [3, 1, 3]
    assert found[0].cost.calls == len(policy.calls) == 6, "equal replies are played out once"
    before = judged(lambda p: unseen, [TRUTHFUL, FLATTERING], policy)
    assert [j.score for j in before] == [3, 5]


RATINGS = {"4": 4, "4.": 4, "4.5 stars": 4.5, "7": None, "3 of 5": None, "": None, "-3": None, "v2": None}


@pytest.mark.parametrize(("said", "score"), RATINGS.items())
def test_one_number_is_a_rating(said, score):
    policy = ScriptedPolicy(lambda text, rng: said if "One number" in text else "x")
    [j] = judged(happens, ["reply"], policy)
    assert j.score == score


def test_the_same_group_is_played_alike_however_long_the_model_takes():
    def tossed(text, rng):
        return str(rng.randint(1, 5))

    def played(delay):
        return [j.evidence for j in judged(happens, ["x", "y", "z"], ScriptedPolicy(tossed, delay=delay))]

    delays = iter([0.02, 0.0, 0.01, 0.0] * 20)
    found = [played(0.0), played(lambda: next(delays))]
    assert found[0] == found[1]
    assert len(set(found[0])) > 1
