"""Critique-GRPO's expert: what a wrong answer hears, who says it, who pays for it, and what is learned of it."""

import asyncio
import random
from dataclasses import replace

import pytest
import torch

from journeyman.credit import with_refinement
from journeyman.feedback import each, exact, gym
from journeyman.feedback.by_policy import by_policy
from journeyman.feedback.critics import by_solver, new_steps, weighed
from journeyman.feedback.critique import Critique, of_steps
from journeyman.prompts import ASK_AGAIN, ASK_VERIFY
from journeyman.runner import Runner, use
from journeyman.scope import Budget
from journeyman.strategies import critiqued, retry_until_right
from journeyman.strategies.critiques import told, written
from journeyman.tasks import gym as tasks
from journeyman.tasks.gym import entry_of
from journeyman.tasks.roles import corrupt_step, wrong_attempt
from journeyman.tasks.solvers import SOLVERS, answer_of, split_steps
from journeyman.testing import ScriptedPolicy, decode
from journeyman.types import Assignment, Cost, Sampling, Task, user
from tests.credit.groups import render
from tests.strategies.scripted import groups, timeless

torch.set_num_threads(1)
TASK = Task("t", user("2*3?"), "6")
LONG = Sampling(4000)  # one token a byte


def says(first, then="6"):
    """A policy that answers ``first``, and ``then`` when it is asked again."""
    return ScriptedPolicy(lambda text, rng: then if text.count("assistant: ") > 1 else first)


def heard(policy):
    """What wrong answers heard: the last message of every conversation that went on."""
    went_on = [text for _, text in policy.calls if text.count("assistant: ") > 1]
    return [text.removesuffix("assistant: ").rpartition("user: ")[2] for text in went_on]


def talk(strategy, policy, siblings=1, feedback=None, **kw):
    policies = policy if isinstance(policy, dict) else {"policy": policy}
    [group] = groups(strategy, policies, siblings, feedback or exact(), **{"tasks": [TASK]} | kw)
    return group


def learned(group):
    """(the whole lesson, what is learned of it) of each lesson."""
    found = with_refinement()(group, render)
    return [(decode(x.tokens), decode([t for t, on in zip(x.tokens, x.train, strict=True) if on])) for x in found]


def generated(family, seed=1):
    """A task, its worked solution, and a wrong attempt at it."""
    task = tasks(family, size=1)[0]
    return task, SOLVERS[family].solve(entry_of(task)), wrong_attempt(random.Random(seed), entry_of(task), SOLVERS[family])


async def points(task, text):
    return Critique((), f"{text} is one too many")


# ---------------------------------------------------------------------------------------- what is heard


@pytest.mark.parametrize("turns", [1, 2, 4])
def test_without_a_critic_it_is_retry_until_right(turns):
    def policy():
        return ScriptedPolicy(lambda text, rng: rng.choice("6789"))

    mine, other = (talk(s(turns=turns), policy(), 8) for s in (critiqued, retry_until_right))
    assert timeless(mine.attempts) == timeless(other.attempts)
    assert mine.judgements == other.judgements


def test_words_of_the_critic_reach_the_refinement_and_not_the_lesson():
    policy = says("7")
    group = talk(critiqued(points, again="No."), policy)
    assert policy.calls[1][1] == "user: 2*3?assistant: 7user: No.\n\n7 is one too manyassistant: "
    assert learned(group) == [("user: 2*3?assistant: 7", "7"), ("user: 2*3?assistant: 6", "6")]
    [a] = group.attempts
    assert [t.marks for t in a.traces] == [{"turn_score": 0.0}, {"turn_score": 1.0}]
    assert [c.text for c in a.answer.candidates] == ["7", "6"]
    assert [x.advantage[-1] for x in with_refinement()(group, render)] == [-0.5, 0.5]


def test_right_answers_are_not_refined_and_their_critic_is_not_asked():
    asked = []

    async def critic(task, text):
        asked.append(text)
        return Critique((), "no")

    policy = ScriptedPolicy(lambda text, rng: rng.choice("678"))
    group = talk(critiqued(critic), policy, 30)
    firsts = [a.traces[0].text for a in group.attempts]
    assert {"6", "7", "8"} == set(firsts)
    assert [len(a.traces) for a in group.attempts] == [1 if text == "6" else 2 for text in firsts]
    assert sorted(asked) == sorted(text for text in firsts if text != "6")


def test_an_answer_that_nobody_could_check_is_not_called_wrong():
    def judge(task, text):
        raise RuntimeError("no verdict")

    group = talk(critiqued(points), says("7"), feedback=each(judge))
    assert [[t.marks for t in a.traces] for a in group.attempts] == [[{"turn_score": None}]]
    assert learned(group) == []


def test_each_answer_of_a_longer_conversation_hears_its_own_critique():
    policy = ScriptedPolicy(lambda text, rng: "789"[text.count("assistant: ") - 1])
    group = talk(critiqued(points, turns=3, again="No."), policy)
    assert heard(policy) == ["No.\n\n7 is one too many", "No.\n\n8 is one too many"]
    assert [t.text for t in group.attempts[0].lineage(group.attempts[0].answer.trace)] == ["7", "8", "9"]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("family", ["chain_sum", "gcd", "rotate_matrix"])
def test_the_step_checker_names_the_first_wrong_step(family, seed):
    task, good, bad = generated(family, seed)
    first = SOLVERS[family].first_wrong_step(entry_of(task), bad)
    policy = says(bad, good)
    group = talk(critiqued(by_solver()), policy, feedback=gym(), tasks=[task], sampling=LONG)
    assert heard(policy) == [f"{ASK_AGAIN[0]}\n\nstep {first + 1} is wrong: {split_steps(bad)[first]}"]
    assert group.scores() == (1.0,)
    assert group.attempts[0].cost.calls == 2, "a checker costs no call"
    assert split_steps(good)[-1] not in policy.calls[1][1], "the gold answer stays hidden"


def test_card_a_group_of_wrong_answers_teaches_where_a_critique_helps():
    """Card: with 0 of 7 right there is a gradient whenever some refinement is right. This policy needs to know which step."""
    task, good, bad = generated("gcd")

    def reply(text, rng):
        return good if "is wrong: " in text.rpartition("user: ")[2] else bad

    def signals(critic):
        group = talk(critiqued(critic), ScriptedPolicy(reply), 7, gym(), tasks=[task], sampling=LONG)
        return [max(x.advantage, key=abs) for x in with_refinement()(group, render)]

    assert signals(by_solver()) == pytest.approx([-0.125] * 7 + [0.875])
    assert not any(signals(None))


# ---------------------------------------------------------------------------------------- a policy as critic


def test_a_policy_as_critic_is_recorded_seeded_and_charged():
    def made():
        critic = ScriptedPolicy(lambda text, rng: f"look at step {rng.randint(1, 99)}", name="critic", parameters=1000)
        policy = says("7")
        return talk(critiqued(written(critic), again="No."), policy, 4), policy, critic

    group, policy, critic = made()
    assert all(asked == f"user: 2*3?\n\n7\n\n{ASK_VERIFY[0]}assistant: " for _, asked in critic.calls)
    for a in group.attempts:
        first, said, second = a.traces
        assert [(t.role, t.policy) for t in a.traces] == [("solver", "policy"), ("critic", "critic"), ("solver", "policy")]
        assert a.lineage(a.answer.trace) == (first, second)
        spent = [t.prompt_tokens + t.sampled_tokens for t in a.traces]
        assert a.cost.compute == 10 * (spent[0] + spent[2]) + 1000 * spent[1]
        assert a.cost.calls == 3
        assert second.prompt == user(f"No.\n\n{said.text}")
    assert all(j.cost == Cost() for j in group.judgements), "it is the attempt that pays"
    assert len({a.traces[1].text for a in group.attempts}) > 1, "siblings' critics draw differently"
    assert sorted(heard(policy)) == sorted(f"No.\n\n{a.traces[1].text}" for a in group.attempts)
    assert {whole for whole, _ in learned(group)} == {"user: 2*3?assistant: 7", "user: 2*3?assistant: 6"}
    assert timeless(made()[0].attempts) == timeless(group.attempts)


def test_the_policy_may_be_its_own_critic():
    def reply(text, rng):
        return "too many" if ASK_VERIFY[0] in text else "6" if "too many" in text else "7"

    policy = ScriptedPolicy(reply)
    group = talk(critiqued(written(use("policy"))), policy, 2)
    assert [[(t.role, t.policy, t.text) for t in a.traces] for a in group.attempts] == [
        [("solver", "policy", "7"), ("critic", "policy", "too many"), ("solver", "policy", "6")]
    ] * 2
    assert [own for _, own in learned(group)] == ["7", "7", "6"], "what it wrote as a critic is not learned"


def test_critics_that_judge_steps_have_words_too():
    critic = ScriptedPolicy(lambda text, rng: "1: 2*3=6 wrong", name="critic")
    for part, calls in ((by_policy(critic), 3), (weighed([(by_policy(use("critic")), 0.5), (new_steps(), 0.5)]), 3)):
        policy = says("7")
        group = talk(critiqued(part, again="No."), {"policy": policy, "critic": critic})
        assert heard(policy) == ["No.\n\n1: 2*3=6 wrong"]
        assert group.attempts[0].cost.calls == calls


# ---------------------------------------------------------------------------------------- critics that fail


async def silent(task, text):
    return None


async def blank(task, text):
    return of_steps(text, [0.0], " \n")


@pytest.mark.parametrize(
    "critic",
    [
        silent,
        blank,
        by_solver(),
        by_policy(ScriptedPolicy(lambda text, rng: "hm", name="critic")),
        written(ScriptedPolicy(lambda text, rng: " ", name="critic")),
    ],
)
def test_a_critic_that_gives_nothing_leaves_the_plain_message(critic):
    policy = says("7")
    group = talk(critiqued(critic), policy)
    assert heard(policy) == [ASK_AGAIN[0]]
    assert group.scores() == (1.0,)


def test_a_critic_that_raises_is_data():
    async def broken(task, text):
        if text == "8":
            raise RuntimeError("no words")
        return Critique((), "no")

    runner = Runner(critiqued(broken), exact(), sampling=Sampling(8))
    policy = ScriptedPolicy(lambda text, rng: "6" if text.count("assistant: ") > 1 else rng.choice("78"))
    [group] = asyncio.run(runner.groups({"policy": policy}, [Assignment(TASK, 12)], "g"))
    failed = [a for a in group.attempts if a.error]
    assert 0 < len(failed) < 12
    for a in failed:
        assert a.error == "RuntimeError: no words"
        assert [t.text for t in a.traces] == ["8"], "what it answered is kept"
    assert len(with_refinement()(group, render)) == 12 - len(failed) + 1


@pytest.mark.parametrize("calls", [1, 2])
def test_where_the_budget_ends_the_last_answer_counts(calls):
    """After the answer, and after the critique."""
    critic = written(ScriptedPolicy(lambda text, rng: "no", name="critic"))
    runner = Runner(critiqued(critic), exact(), sampling=Sampling(8), budget=Budget(calls=calls))
    [group] = asyncio.run(runner.groups({"policy": says("7")}, [Assignment(TASK, 2)], "g"))
    for a in group.attempts:
        assert (a.error, a.answer.text, a.cost.calls) == (None, "7", calls)
        assert a.trace(a.answer.trace).marks == {"turn_score": 0.0}


# ---------------------------------------------------------------------------------------- the truth, and copying it


def test_who_is_told_the_answer_can_copy_it_and_by_default_that_is_learned():
    task, good, bad = generated("gcd")
    copy = split_steps(good)[-1]
    policy = says(bad, copy)
    group = talk(critiqued(told(), again="No."), policy, feedback=gym(), tasks=[task], sampling=LONG)
    assert heard(policy) == [f"No.\n\nThe right answer is {answer_of(copy)}."]
    assert [own for _, own in learned(group)] == [bad, copy]
    assert group.attempts[0].traces[1].marks == {"turn_score": 1.0}


def test_right_refinements_with_wrong_or_no_work_are_left_out():
    task, good, bad = generated("gcd")
    copy = split_steps(good)[-1]
    wrong_work = corrupt_step(random.Random(0), good, 0, carry=False)
    strategy = critiqued(told(), verify=by_solver())
    for second, unsound in ((copy, True), (wrong_work, True), (good, False)):
        group = talk(strategy, says(bad, second), 2, gym(), tasks=[task], sampling=LONG)
        assert group.scores() == (1.0, 1.0)
        marks = {"unsound": unsound, "turn_score": None if unsound else 1.0}
        assert [a.traces[1].marks for a in group.attempts] == [marks] * 2
        assert [own for _, own in learned(group)] == [bad, bad] + [second] * (not unsound)
    wrong = talk(strategy, says(bad, bad), feedback=gym(), tasks=[task], sampling=LONG)
    assert wrong.attempts[0].traces[1].marks == {"turn_score": 0.0}, "a wrong refinement is not looked at"
    first = talk(strategy, says(copy), feedback=gym(), tasks=[task], sampling=LONG)
    assert first.attempts[0].traces[0].marks == {"turn_score": 1.0}, "nor is a first answer"


def test_a_verifier_without_a_view_leaves_nothing_out():
    group = talk(critiqued(told(), verify=by_solver()), says("7"))
    assert [t.marks for t in group.attempts[0].traces] == [{"turn_score": 0.0}, {"turn_score": 1.0}]


@pytest.mark.parametrize("family", sorted(SOLVERS))
def test_the_worked_solution_of_every_family_is_sound_and_its_answer_alone_is_not(family):
    task, good, bad = generated(family)
    part = critiqued(verify=by_solver())
    assert asyncio.run(part.sound(task, good)) is True
    assert asyncio.run(part.sound(task, split_steps(good)[-1])) is False
    assert asyncio.run(part.sound(task, bad)) is False


def test_tasks_without_a_gold_text_tell_nothing():
    policy = says("7")
    talk(critiqued(told(), again="No."), policy, feedback=each(lambda task, text: 0.0), tasks=[replace(TASK, answer=6)])
    assert heard(policy) == ["No."]
    braces = talk(critiqued(told("It is {answer}.")), policy, tasks=[replace(TASK, answer="{0}")])
    assert heard(policy)[-1] == f"{ASK_AGAIN[0]}\n\nIt is {{0}}."
    assert braces.scores() == (0.0,)


# ---------------------------------------------------------------------------------------- promises


def test_the_same_seed_does_the_same_whatever_finishes_first():
    def texts(delay, **kw):
        critic = ScriptedPolicy(lambda text, rng: f"step {rng.randint(1, 99)}", name="critic", delay=delay)
        policy = ScriptedPolicy(lambda text, rng: f"{rng.randint(6, 9)}", delay=delay)
        group = talk(critiqued(written(critic), turns=3), policy, 12, **kw)
        return [(a.answer, [(t.id, t.text, t.marks) for t in a.traces]) for a in group.attempts]

    shuffle = random.Random(5)
    assert texts(lambda: shuffle.random() / 200) == texts(0.0)
    assert texts(0.0, seed=1) != texts(0.0)


def test_it_is_an_oracle():
    assert "oracle" in critiqued().needs
    assert "turn_score" in critiqued().gives


def test_the_impossible_is_refused():
    for make in (lambda: critiqued(turns=0), lambda: told("it is {gold}")):
        with pytest.raises(ValueError, match="expected"):
            make()
    with pytest.raises(ValueError, match="run it with a Runner, which puts the run's policy 'critic' there"):
        asyncio.run(written(use("critic"))(TASK, "7"))
