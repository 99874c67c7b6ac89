"""Recipes that learn from critiques: what they refuse, and what the critic is worth to them."""

import asyncio
import random
from dataclasses import replace

import pytest
import torch

from journeyman import recipes
from journeyman.credit import self_explained, span_returns, step_penalised, turn_decayed, with_refinement
from journeyman.feedback import each, exact, shuffled
from journeyman.feedback.by_policy import by_policy
from journeyman.feedback.critics import by_solver
from journeyman.feedback.critique import of_steps
from journeyman.learners import Gradient
from journeyman.loop import train
from journeyman.objectives import surrogate
from journeyman.policies import load_policy
from journeyman.prompts import ASK_AGAIN
from journeyman.recipes.critics import CRITIQUES, critic_of, criticised, refining
from journeyman.recipes.parts import tasks_of
from journeyman.run import Misfit, Policies
from journeyman.runner import use
from journeyman.strategies import critiqued
from journeyman.strategies.critiques import told, written
from journeyman.testing import ScriptedPolicy
from journeyman.types import Answer, Assignment, Attempt, Group, Judgement, Span, Trace
from tests.recipes.test_recipes import LEARNERS, TASKS, accuracy, fresh, guesser, guesser_weights, letters

__all__ = ["guesser", "guesser_weights"]  # fixtures
CRITICAL = ("capo", "fine_grained", "prof", "text2grad")
GYM = "gym:simple_equations@1"
torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("credit", "word"),
    [
        (step_penalised(), "spans"),
        (span_returns(), "spans"),
        (with_refinement(), "turn_score"),
        (turn_decayed(), "turn_score"),
        (self_explained(), "hinted"),
    ],
)
def test_credit_without_its_critic_or_strategy_is_refused_at_assembly(credit, word, guesser):
    run = recipes.grpo(policy=guesser, tasks=TASKS, feedback="exact")
    run.credit = credit
    with pytest.raises(Misfit, match=f"needs '{word}', which nothing before it gives"):
        run.check()


@pytest.mark.parametrize("name", [*CRITICAL, "critique_grpo", "expo", "ufo"])
def test_the_recipes_fit_together(name, guesser):
    takes = {"critic": letters} if name in CRITICAL else {}
    getattr(recipes, name)(policy=guesser, tasks=TASKS, feedback="exact", **takes).check()


@pytest.mark.parametrize("name", CRITICAL)
def test_tasks_that_no_solver_knows_need_another_critic(name, guesser):
    with pytest.raises(ValueError, match="no exact step checker knows task letter/0"):
        getattr(recipes, name)(policy=guesser, tasks=TASKS, feedback="exact")


def test_critics_by_name():
    source = tasks_of(GYM)
    assert critic_of("solver", source) == by_solver()
    assert critic_of("solver", source, later=0.0) == by_solver(0.0)
    assert isinstance(critic_of("base", TASKS), by_policy)
    assert critic_of(letters, TASKS) is letters


def test_critiques_by_name():
    source = tasks_of(GYM)
    made = {name: refining(name, source, "No") for name in CRITIQUES}
    assert made == {
        "indicative": critiqued(again="No"),
        "truth": critiqued(told(), again="No"),
        "truth+solver": critiqued(told(), by_solver(), again="No"),
        "solver": critiqued(by_solver(), again="No"),
        "self": critiqued(written(use("policy")), again="No"),
    }
    base = refining("base", TASKS, "No").critic
    assert isinstance(base, written)
    assert base.policy.name == "critic"
    assert refining(letters, TASKS, "No") == critiqued(letters, again="No")


@pytest.mark.parametrize("critique", [*CRITIQUES[:2], "self", letters])
def test_critique_grpo_takes_each_critique(critique, guesser):
    recipes.critique_grpo(policy=guesser, tasks=TASKS, feedback="exact", critique=critique).check()


@pytest.mark.parametrize(
    ("critique", "said"),
    [
        ("solver", "critique is 'solver', but no exact step checker knows task letter/0"),
        ("truth+solver", r"critique is 'truth\+solver', but no exact step checker knows task letter/0"),
        ("ground truth", "critique is 'ground truth', expected indicative, truth, truth"),
    ],
)
def test_critiques_that_there_are_not_are_refused(critique, said, guesser):
    with pytest.raises(ValueError, match=said):
        recipes.critique_grpo(policy=guesser, tasks=TASKS, feedback="exact", critique=critique)


def test_a_truth_that_is_no_text_cannot_be_told():
    with pytest.raises(ValueError, match="task letter/0 has no gold answer as a text; write 'indicative'"):
        refining("truth", [replace(TASKS[0], answer=None)], "No")


def test_prof_needs_two_attempts_that_stay(guesser):
    with pytest.raises(ValueError, match="write remove=2"):
        recipes.prof(policy=guesser, tasks=TASKS, feedback="exact", critic=letters, siblings=4)


def test_spans_are_placed_by_the_policys_own_tokens():
    part = criticised(exact(), letters, Policies(policy=ScriptedPolicy(lambda text, rng: "a")))
    assert part.decode((97, 98, 0)) == "ab"


async def coin(task, text):
    """A critic whose verdict has nothing to do with the task."""
    return of_steps(text, [float(random.Random(f"{task.id} {text}").random() < 0.5)])


def test_text2grad_learns_from_the_critic_alone(guesser):
    """The verifier calls every answer wrong; what is learned is the critic's."""
    run = recipes.text2grad(policy=guesser, tasks=TASKS, feedback="exact", seed=2, max_tokens=4, **LEARNERS["text2grad"])
    run.runner = replace(run.runner, feedback=replace(run.runner.feedback, feedback=each(lambda task, text: 0.0)))
    asyncio.run(train(run))
    assert accuracy(guesser) > 0.8


def test_text2grad_with_a_critic_of_no_use_does_not(guesser):
    settings = LEARNERS["text2grad"] | {"critic": coin}
    run = recipes.text2grad(policy=guesser, tasks=TASKS, feedback="exact", seed=2, max_tokens=4, **settings)
    asyncio.run(train(run))
    assert accuracy(guesser) < 0.55


def test_text2grad_moves_the_marked_tokens():
    """One step: the token of a bad span falls, that of a good one rises, and one that nobody marked moves less than either."""
    policy = fresh()
    tokens, mask = policy.render([*TASKS[0].prompt, {"role": "assistant", "content": "abc"}])
    start = mask.index(True)
    length, drawn = len(tokens), tuple(start <= t < start + 3 for t in range(len(tokens)))
    trace = Trace("g/0:0", text="abc", tokens=tokens, sampled=drawn, logp=(0.0,) * length, version=(0,) * length, start=start)
    spans = (Span("g/0:0", start, start + 1, 1.0), Span("g/0:0", start + 2, start + 3, 0.0))
    attempt = Attempt("g/0", "t", Answer("abc", "g/0:0"), (trace,))
    group = Group("g", Assignment(TASKS[0]), (attempt,), (Judgement("g/0", 0.0, spans=spans),))
    before = asyncio.run(policy.logp(tokens))
    Gradient(surrogate(), lr=1e-3).update(policy, span_returns(decay=0.0)(group, policy.render))
    good, unmarked, bad = (b - a for a, b in list(zip(before, asyncio.run(policy.logp(tokens)), strict=True))[start : start + 3])
    assert good > 0 > bad
    assert abs(unmarked) < min(good, -bad)


def test_rewards_cannot_be_shuffled_where_spans_would_tell(guesser):
    run = recipes.capo(policy=guesser, tasks=TASKS, feedback="exact", critic=letters)
    run.runner = replace(run.runner, feedback=shuffled(run.runner.feedback))
    with pytest.raises(Misfit, match="needs 'spans'"):
        run.check()


@pytest.mark.parametrize(("name", "critic"), [("capo", "solver"), ("fine_grained", "solver"), ("prof", "solver"), ("capo", "base")])
def test_a_step_of_the_packaged_model_on_generated_tasks(name, critic):
    """Real tokens, real step checkers, and the model itself as critic: right answers have right steps, wrong ones mostly not."""
    policy = load_policy("base", device="cpu")
    run = getattr(recipes, name)(policy=policy, tasks=GYM, critic=critic, steps=1, batch=2, max_tokens=64, seed=1)
    seen = []

    async def watch(run, step, groups, metrics):
        seen.extend(groups)

    run.actions.append((1, watch))
    run.check()
    asyncio.run(train(run))
    judged = [j for g in seen for j in g.judgements]
    spans = [(j, s) for j in judged for s in j.spans]
    assert {j.attempt for j, _ in spans} == {j.attempt for j in judged}, "every attempt was criticised"
    assert all(j.critique for j in judged)
    tokens = {t.id: len(t.tokens) for g in seen for a in g.attempts for t in a.traces}
    assert all(0 <= s.start < s.end <= tokens[s.trace] for _, s in spans)
    if critic == "solver" and name != "fine_grained":
        assert all(s.value == 1.0 for j, s in spans if j.score == 1.0), "a wrong step never led to a right answer here"
        assert all(any(s.value < 1 for s in j.spans) for j in judged if j.score == 0.0)


@pytest.mark.parametrize("critique", ["truth+solver", "solver", "self"])
def test_a_step_of_the_packaged_model_with_written_critiques(critique):
    """Wrong answers hear real critiques; what is learned holds nothing of them."""
    policy = load_policy("base", device="cpu")
    run = recipes.critique_grpo(policy, "gym:simple_equations@3", critique=critique, steps=1, batch=2, max_tokens=96, seed=1)
    seen = []

    async def watch(run, step, groups, metrics):
        seen.extend(groups)

    run.actions.append((1, watch))
    run.check()
    asyncio.run(train(run))
    attempts = [a for g in seen for a in g.attempts]
    assert not any(a.error for a in attempts)
    refined = [a for a in attempts if len(a.lineage(a.answer.trace)) == 2]
    assert refined
    for a in refined:
        first, second = a.lineage(a.answer.trace)
        assert first.marks["turn_score"] == 0.0
        verdict, _, words = second.prompt[-1]["content"].partition("\n\n")
        assert verdict == ASK_AGAIN[0]
        if critique == "self":
            [said] = [t for t in a.traces if t.role == "critic"]
            assert words == said.text.strip()
        else:
            assert words.startswith("The right answer is " if critique == "truth+solver" else ("step ", "the answer is missing"))
            assert len(a.traces) == 2
        if critique == "truth+solver":
            assert ("unsound" in second.marks) == (a.answer.confidence == 1.0)
        assert a.cost.calls == len(a.traces)
    for g in seen:
        for x in with_refinement()(g, run.render):
            assert ASK_AGAIN[0] not in policy.chat.decode(x.tokens)
