"""Search back to the first wrong step: what it ends with, when it gives up, what it charges, and that it beats sampling."""

import asyncio
import random
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.credit import imitate_best
from journeyman.feedback import auto
from journeyman.feedback.critics import by_solver
from journeyman.feedback.critique import Critique, of_steps
from journeyman.policies import load_policy
from journeyman.runner import Runner
from journeyman.strategies import backtracking, sample
from journeyman.tasks import load_tasks
from journeyman.tasks.solvers import split_steps
from journeyman.testing import ScriptedPolicy, decode
from journeyman.types import Assignment, Sampling
from tests.credit.groups import render
from tests.strategies.scripted import groups, said, timeless

torch.set_num_threads(1)


async def four_ok(task, text):
    """Right: four lines "ok". The fifth, and a missing one, are wrong."""
    steps = split_steps(text)
    values = [float(step == "ok" and k < 4) for k, step in enumerate(steps)]
    return of_steps(text, values if len(steps) >= 4 else [*values, 0.0])


def lines(words, most=4):
    """A policy that writes lines until there are ``most``, each one of ``words``."""
    return ScriptedPolicy(lambda text, rng: "".join(f"{rng.choice(words)}\n" for _ in range(most - said(text).count("\n"))))


def search(policy, tries=64, critic=four_ok, siblings=8, **kw):
    return groups(backtracking(critic, tries), {"policy": policy}, siblings, **kw)[0]


def test_it_ends_with_sound_work_alone_and_charges_every_detour():
    group = search(lines(["ok", "no"]))
    for attempt in group.attempts:
        assert split_steps(attempt.answer.text) == ["ok"] * 4
        assert attempt.cost.sampled_tokens == sum(t.sampled_tokens for t in attempt.traces)
        whole = attempt.trace(attempt.answer.trace)
        assert decode(whole.tokens).endswith(f"assistant: {attempt.answer.text}")
    calls = [a.cost.calls for a in group.attempts]
    assert max(calls) > 2
    assert len(set(calls)) > 1
    assert all("no" not in decode(x.tokens) for x in imitate_best(keep=8)(group, render))


def test_what_was_right_is_kept():
    """Two words only at the second line: the first is never drawn anew."""
    policy = ScriptedPolicy(lambda text, rng: ("first\n" if not said(text) else "") + rng.choice(["ok", "no"]))

    async def second_ok(task, text):
        return of_steps(text, [1.0, float(split_steps(text)[-1] == "ok")])

    group = search(policy, critic=second_ok)
    assert {a.answer.text for a in group.attempts} == {"first\nok"}
    assert {said(text) for _, text in policy.calls} == {"", "first\n"}


@pytest.mark.parametrize("tries", [0, 1, 5])
def test_it_gives_up_after_its_tries(tries):
    group = search(lines(["no"]), tries)
    assert [a.cost.calls for a in group.attempts] == [1 + tries] * 8
    assert all(a.answer.text.startswith("no\n") for a in group.attempts)


def test_each_step_has_tries_of_its_own_and_is_drawn_alone():
    """Each line is wrong twice and then right; what follows it is drawn only then."""
    drawn = Counter()

    def reply(text, rng):
        before = said(text)
        drawn[before] += 1
        missing = 4 - before.count("\n")
        return ("ok\n" if drawn[before] > 2 else "no\n") + "ok\n" * (missing - 1) if missing else ""

    [group] = groups(backtracking(four_ok, 2), {"policy": ScriptedPolicy(reply)}, 1)
    [attempt] = group.attempts
    assert attempt.answer.text == "ok\n" * 4
    assert drawn == {"ok\n" * k: 3 for k in range(4)} | {"ok\n" * 4: 1}
    first = ["no\n" + "ok\n" * 3, "no\n", "ok\n", "no\n" + "ok\n" * 2, "no\n", "ok\n"]
    assert [decode(t.tokens[t.start :]) for t in attempt.traces[:6]] == first


def test_where_the_tries_run_out_the_answer_ends_with_the_wrong_step():
    policy = ScriptedPolicy(lambda text, rng: "ok\nno\nok\nok\n" if not said(text) else "no\nok\nok\n")
    assert {a.answer.text for a in search(policy, 3).attempts} == {"ok\nno\n"}
    assert {a.answer.text for a in search(policy, 0).attempts} == {"ok\nno\nok\nok\n"}


def test_whole_draws_have_a_temperature_of_their_own():
    [group] = groups(backtracking(four_ok, temperature=0.25), {"policy": lines(["ok", "no"])}, 8, sampling=Sampling(32, 0.75))
    warmth = {t.sampling.stop: set() for a in group.attempts for t in a.traces}
    for trace in (t for a in group.attempts for t in a.traces):
        warmth[trace.sampling.stop].add(trace.sampling.temperature)
    assert warmth == {(): {0.25}, ("\n",): {0.75}}


def test_an_answer_of_several_lines_is_drawn_to_its_closing_tag():
    """The wrong answer has two lines, as the right one has."""

    async def critic(task, text):
        return of_steps(text, [float(step == "<answer>2\n1</answer>") for step in split_steps(text)])

    policy = ScriptedPolicy(lambda text, rng: "1</answer>" if said(text) else f"<answer>{rng.choice('23')}\n1</answer>")
    group = search(policy, critic=critic)
    assert {a.answer.text for a in group.attempts} == {"<answer>2\n1</answer>"}
    assert max(a.cost.calls for a in group.attempts) > 2


def test_a_missing_step_is_drawn_where_the_answer_ended():
    policy = ScriptedPolicy(lambda text, rng: "ok\n" * (2 if said(text).count("\n") < 2 else 4 - said(text).count("\n")))
    [answer, *_] = [a.answer.text for a in search(policy).attempts]
    assert answer == "ok\n" * 4


def test_more_than_was_asked_is_cut_off():
    policy = ScriptedPolicy(lambda text, rng: "ok\n" * 6 if not said(text) else "")
    assert {a.answer.text for a in search(policy).attempts} == {"ok\n" * 4}


async def silent(task, text):
    """A critic without a view."""


@pytest.mark.parametrize(("critic", "limit"), [(silent, 32), (four_ok, 7), (four_ok, 6)])
def test_it_ends_where_nothing_can_be_mended(critic, limit):
    """No view; a limit that cuts the third "ok"; one that cuts what follows the second."""
    group = search(lines(["ok"]), critic=critic, sampling=Sampling(limit))
    assert [a.cost.calls for a in group.attempts] == [1] * 8


def test_the_limit_of_tokens_is_that_of_the_whole_answer():
    group = search(lines(["ok", "no"], 40), critic=by_lines, sampling=Sampling(30))
    assert max(len(a.answer.text) for a in group.attempts) == 30
    assert max(a.cost.sampled_tokens for a in group.attempts) > 30


async def by_lines(task, text):
    """Every line "ok" is right, however many."""
    return of_steps(text, [float("ok".startswith(step)) for step in split_steps(text)])


def test_the_same_seed_searches_the_same_way():
    first, second = (search(lines(["ok", "no"])).attempts for _ in range(2))
    assert timeless(first) == timeless(second)


@given(st.integers(0, 10**6), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_any_critic_and_any_policy_come_to_an_end(seed, tries):
    """Answers of any letters, tags and lines; a critic that says anything of any part, and of the same text not always the same."""
    rng = random.Random(seed)
    pieces = ["ok", "\n", "<answer>", "</answer>", " ", "é", ""]

    async def critic(task, text):
        places = sorted(rng.randrange(len(text) + 1) for _ in range(2 * rng.randrange(4)))
        parts = tuple((a, b, rng.choice([0.0, 0.5, 1.0])) for a, b in zip(places[::2], places[1::2], strict=True))
        return rng.choice([Critique(parts, ""), None]) if rng.random() < 0.3 else Critique(parts, "")

    policy = ScriptedPolicy(lambda text, dice: "".join(dice.choice(pieces) for _ in range(dice.randrange(12))))
    [group] = groups(backtracking(critic, tries), {"policy": policy}, 2, sampling=Sampling(24))
    for a in group.attempts:
        assert a.error is None
        assert a.cost.calls <= 2 + 24 * (tries + 1) * 2
        assert len(a.trace(a.answer.trace).tokens) <= a.traces[0].start + 24


def test_it_refuses_a_negative_number_of_tries():
    with pytest.raises(ValueError, match="at least 0"):
        backtracking(four_ok, -1)


def test_it_finds_sound_work_more_often_than_the_packaged_model_alone():
    """Real tokens and an exact checker; an answer counts if it is right and so is every step of it."""
    policy = load_policy("base", device="cpu")
    families = [load_tasks(f"gym:{name}", split="train") for name in ("products@3", "leg_counting@2", "base_conversion@2")]
    tasks = [family[i] for family in families for i in range(8)]

    def sound(task, text):
        return all(value == 1.0 for *_, value in asyncio.run(by_solver()(task, text)).parts)

    found = []
    for strategy in (sample(), backtracking(tries=8)):
        runner = Runner(strategy, auto(), sampling=Sampling(320), seed=0)
        made = asyncio.run(runner.groups({"policy": policy}, [Assignment(t, 2) for t in tasks], "g"))
        right = [(g.task, a.answer.text) for g in made for a, score in zip(g.attempts, g.scores(), strict=True) if score == 1.0]
        found.append(sum(sound(*answer) for answer in right))
    assert found[1] > 24
    assert found[1] > 1.5 * found[0]
