"""CURE, G2RPO, RLGF and RepExp as recipes: what they refuse, how their parts are put together, and what they learn."""

import asyncio
import json
from dataclasses import replace

import pytest
import torch

from journeyman import recipes
from journeyman.credit import group_zscore, outcome, over_branches
from journeyman.evaluation import Exam
from journeyman.feedback import each, shuffled
from journeyman.learners import Gradient
from journeyman.loop import train
from journeyman.objectives import nll
from journeyman.policies import Decoder, load_policy
from journeyman.recipes.reading import Reading
from journeyman.resume import state
from journeyman.run import Misfit
from journeyman.strategies import branched, sample
from journeyman.types import Lesson, Sampling
from tests.policies.conftest import TEMPLATE, byte_tokenizer
from tests.recipes.test_recipes import CONFIG, LETTERS, TASKS, accuracy, fresh, guesser, guesser_weights, guide_of, taught

__all__ = ["guesser", "guesser_weights"]  # fixtures
torch.set_num_threads(1)
SMALL = {"tasks": TASKS, "feedback": "exact", "batch": 4, "max_tokens": 4, "steps": 1}


def collected(run):
    """The groups of a run's steps and what its learner was given."""
    groups, lessons = [], []
    plain = run.learners["policy"].update

    def update(policy, given):
        lessons.extend(given)
        return plain(policy, given)

    async def watch(run, step, found, metrics):
        groups.extend(found)

    run.learners["policy"].update = update
    run.actions.append((1, watch))
    asyncio.run(train(run))
    return groups, lessons


# ---------------------------------------------------------------------------------------- what fits


def test_parts_that_do_not_fit_are_refused(guesser):
    run = recipes.grpo(policy=guesser, tasks=TASKS, feedback="exact")
    run.credit = over_branches(group_zscore())
    with pytest.raises(Misfit, match="over_branches needs 'branch_score', which nothing before it gives"):
        run.check()
    with pytest.raises(Misfit, match="exploring needs 'siblings', which nothing before it gives"):
        recipes.repexp(policy=guesser, tasks=TASKS, feedback="exact", siblings=1).check()


def test_repexp_needs_rewards(guesser):
    run = recipes.repexp(policy=guesser, tasks=TASKS, feedback="exact")
    run.credit = recipes.grpo(policy=guesser, tasks=TASKS).credit
    with pytest.raises(Misfit, match="exploring needs 'reward'"):
        run.check()
    assert isinstance(recipes.repexp(policy=guesser, tasks=TASKS).credit, outcome)


def test_a_guide_is_no_learner_and_has_a_name_of_its_own(guesser):
    with pytest.raises(ValueError, match="a policy named 'policy', expected 'guide'"):
        recipes.rlgf(policy=guesser, guide=fresh(), **SMALL)
    other = Decoder.fresh(CONFIG, byte_tokenizer(TEMPLATE.replace("<|end|>", "<|end|>\n")), "guide", seed=0)
    with pytest.raises(ValueError, match="other tokens or another chat template"):
        recipes.rlgf(policy=guesser, guide=other, **SMALL)
    with pytest.raises(ValueError, match="no strategy is named 'lot'; did you mean 'lots'"):
        recipes.rlgf(policy=guesser, guide=guide_of(guesser), guide_first="lot(1)", **SMALL)


# ---------------------------------------------------------------------------------------- CURE


@pytest.fixture(scope="module")
def spelling_weights():
    """A model that answers with any three of four letters."""
    return taught(lambda rng: "".join(rng.choice(LETTERS) for _ in range(3)))


@pytest.fixture
def speller(spelling_weights):
    torch.set_num_threads(1)
    policy = fresh()
    policy.load_weights(spelling_weights, 0)
    return policy


THRICE = each(lambda task, text: float(text[:3] == task.answer * 3))  # one of 64 answers at first
PARTLY = each(lambda task, text: sum(c == task.answer for c in text[:3]) / 3 if len(text) == 3 else 0.0)


def spelt(policy, feedback=PARTLY):
    groups = asyncio.run(Exam(TASKS, feedback, k=32, sampling=Sampling(max_tokens=6)).sit({"policy": policy}))
    scores = [s for g in groups for s in g.scores()]
    return sum(scores) / len(scores)


def test_cure_learns_answers_and_branches_as_one_group(speller):
    run = recipes.cure(policy=speller, tasks=TASKS, feedback=PARTLY, steps=1, batch=4, max_tokens=6, seed=1)
    groups, lessons = collected(run)
    admitted = [g for g in groups if run.curriculum.admit(g)]
    branches = [t for g in admitted for a in g.attempts for t in a.traces if t.parent is not None]
    assert len(lessons) == sum(len(a.traces) for g in admitted for a in g.attempts)
    assert len(branches) > 3 * len(admitted), "most answers have three branches"
    known = {t.id: t for t in branches}
    for x in lessons:
        if x.attempt in known:
            t = known[x.attempt]
            first = next(a for g in admitted for a in g.attempts if a.id == t.id.split(":")[0]).traces[0]
            assert t.tokens[: t.start] == first.tokens[: t.start]
            assert t.start > first.start
            assert not any(x.train[: t.start])
            assert all(x.train[t.start :])


def test_cure_learns_to_spell(speller):
    before = spelt(speller)
    assert 0.15 < before < 0.4
    run = recipes.cure(policy=speller, tasks=TASKS, feedback=PARTLY, steps=32, batch=16, lr=3e-3, max_tokens=6, seed=2)
    asyncio.run(train(run))
    assert spelt(speller) > 0.8


def test_cure_reads_the_policy_that_samples(guesser):
    run = recipes.cure(policy=guesser, **SMALL)
    assert isinstance(run.runner.strategy, branched)
    assert isinstance(run.runner.strategy.reader, Reading)
    assert run.runner.strategy.reader.policy is guesser
    assert (run.refills, run.runner.strategy.branches, run.runner.strategy.top) == (3, 3, 4)


def test_cure_on_the_packaged_model():
    """A step on generated tasks: branches begin where the model was unsure, and their texts are whole answers."""
    policy = load_policy("base", device="cpu")
    run = recipes.cure(
        policy=policy, tasks="gym:simple_equations@1", steps=1, batch=2, siblings=2, branches=2, max_tokens=64, seed=1
    )
    run.refills = 0
    groups, _ = collected(run)
    parts = [(a, t, c) for g in groups for a in g.attempts for t, c in zip(a.traces, a.answer.candidates, strict=False)]
    assert sum(t.parent is not None for _, t, _ in parts) == 8
    for a, t, c in parts:
        begin = a.traces[0].start
        assert policy.chat.decode(t.tokens[begin:]) == c.text
        assert t.marks["branch_score"] is not None
        assert a.cost.calls == len(a.traces) + 1, "reading the entropies is a call"


# ---------------------------------------------------------------------------------------- G2RPO


def test_g2rpo_learns_only_the_fork(guesser):
    groups, lessons = collected(recipes.g2rpo(policy=guesser, ways=6, **SMALL))
    assert len(lessons) == 6 * len(groups) == 24
    assert all(sum(x.train) == 1 for x in lessons)
    assert all(set(t.marks["views"]) == {"budget_1", "budget_2", "budget_4"} for g in groups for a in g.attempts
               for t in a.traces if "views" in t.marks)  # fmt: skip


# ---------------------------------------------------------------------------------------- RLGF


@pytest.mark.parametrize(("order", "own"), [("lots(1)", "guide"), ("lots(0)", "policy")])
def test_rlgf_variants(order, own, guesser):
    run = recipes.rlgf(policy=guesser, guide=guide_of(guesser), guide_first=order, mixing=1.0, siblings=4, **SMALL)
    groups, lessons = collected(run)
    assert {a.traces[0].policy for g in groups for a in g.attempts} == {own}
    assert {a.traces[1].policy for g in groups for a in g.attempts} == {"policy", "guide"} - {own}
    assert {x.policy for x in lessons} == {"policy"}
    for x in lessons:
        a = next(a for g in groups for a in g.attempts if a.id == x.attempt)
        switch = a.traces[1].start
        assert any(x.train)
        assert not any(x.train[:switch] if own == "guide" else x.train[switch:])


def test_rlgf_orders_move_and_are_kept(guesser):
    run = recipes.rlgf(policy=guesser, guide=guide_of(guesser), guide_first="after(1)", mixing=1.0, **SMALL | {"steps": 2})
    groups, _ = collected(run)
    begins = [{a.traces[0].policy for a in g.attempts} for g in groups]
    assert begins == [{"policy"}] * 4 + [{"guide"}] * 4
    assert json.loads(json.dumps(state(run)))["schedules"] == {"schedule0": {"seen": 2}}


def test_rlgf_leaves_its_guide_alone(guesser):
    guide = guide_of(guesser)
    start = {k: v.clone() for k, v in guide.weights().items()}
    collected(recipes.rlgf(policy=guesser, guide=guide, siblings=4, **SMALL | {"steps": 2}))
    assert all(torch.equal(v, start[k]) for k, v in guide.weights().items())


def test_a_good_guide_is_worth_much_at_first(speller):
    """A guide that spells right ends what the policy begins (AggreVaTeD): the first letter is learned from the score of whole
    answers, which the policy alone would seldom get."""
    guide = guide_of(speller)
    taught = Gradient(nll(), lr=3e-3)
    for _ in range(40):
        shown = [guide.render([*t.prompt, {"role": "assistant", "content": t.answer * 3}]) for t in TASKS]
        taught.update(guide, [Lesson(tokens, mask, tuple(map(float, mask)), policy="guide", term="sft") for tokens, mask in shown])
    assert spelt(guide, THRICE) > 0.9
    found = {}
    for name, mixing, order in (("helped", 1.0, "lots(0)"), ("alone", 0.0, "lots(1)")):
        policy = fresh()
        policy.load_weights({k: v.clone() for k, v in speller.weights().items()}, 0)
        small = {"steps": 12, "batch": 16, "siblings": 4, "lr": 3e-3, "max_tokens": 6, "seed": 3}
        asyncio.run(train(recipes.rlgf(policy, TASKS, THRICE, guide, order, mixing, **small)))
        found[name] = spelt(policy)
    assert found["helped"] > found["alone"] + 0.2


# ---------------------------------------------------------------------------------------- RepExp


def test_repexp_keeps_both_of_two_right_answers(guesser):
    """Two letters are right; one begins rarer. With the bonus its share among right answers comes back; GRPO leaves it rare."""
    either = each(lambda task, text: float(text in ("a", "b")))
    learner = Gradient(nll(), lr=1e-3)
    for _ in range(12):
        shown = [guesser.render([*t.prompt, {"role": "assistant", "content": "a"}]) for t in TASKS]
        learner.update(guesser, [Lesson(tokens, mask, tuple(map(float, mask)), term="sft") for tokens, mask in shown])
    start = {k: v.clone() for k, v in guesser.weights().items()}

    def share(policy):
        run = Exam(TASKS, either, k=64, sampling=Sampling(max_tokens=4)).sit({"policy": policy})
        said = [a.answer.text for g in asyncio.run(run) for a in g.attempts]
        return said.count("b") / (said.count("a") + said.count("b"))

    assert share(guesser) < 0.3
    found = {}
    for bonus in (0.0, 0.01):
        policy = fresh()
        policy.load_weights({k: v.clone() for k, v in start.items()}, 0)
        run = recipes.repexp(policy, TASKS, either, steps=25, batch=8, siblings=8, lr=1e-3, bonus=bonus, max_tokens=4, seed=1)
        asyncio.run(train(run))
        found[bonus] = share(policy)
    assert found[0.01] > found[0.0] + 0.1


@pytest.mark.parametrize("name", ["repexp"])
def test_a_shuffled_control_does_not_learn(name, guesser):
    run = getattr(recipes, name)(policy=guesser, tasks=TASKS, feedback="exact", steps=25, batch=16, lr=3e-3, max_tokens=4, seed=2)
    assert isinstance(run.runner.strategy, sample)
    run.runner = replace(run.runner, feedback=shuffled(run.runner.feedback, seed=2))
    asyncio.run(train(run))
    assert accuracy(guesser) < 0.55
