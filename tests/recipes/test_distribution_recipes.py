"""Recipes that see whole distributions or stay near a clone, and feedback that shapes what a model says, on the toy model."""

import asyncio
import random
from dataclasses import replace

import pytest
import torch

from journeyman import recipes
from journeyman.evaluation import Exam
from journeyman.feedback import checklist, each, hindsight, tool_calls
from journeyman.feedback.simulators import unseen
from journeyman.feedback.verifiers import by_rules
from journeyman.learners import Gradient, anchored
from journeyman.loop import train
from journeyman.objectives import nll
from journeyman.policies import Decoder, load_policy
from journeyman.protocols import words
from journeyman.types import Lesson, Sampling
from tests.policies.conftest import byte_tokenizer
from tests.recipes.test_recipes import CONFIG, TASKS, accuracy, guesser, guesser_weights

__all__ = ["guesser", "guesser_weights"]  # fixtures
torch.set_num_threads(1)


def kept(run, name):
    """A run's metric of this name after each step."""
    seen = []

    async def watch(run, step, groups, metrics):
        seen.append(metrics[name])

    run.actions.append((1, watch))
    return seen


def share(policy, letter):
    """How often the model answers with this letter."""
    exam = Exam(TASKS, each(lambda task, text: text.strip() == letter), k=16, sampling=Sampling(max_tokens=4))
    scores = [s for g in asyncio.run(exam.sit({"policy": policy})) for s in g.scores()]
    return sum(scores) / len(scores)


def test_asft_stays_nearer_to_its_start_than_dft(guesser):
    """The recipe with weight 0 is dft, its divergence measured."""
    start = {k: v.clone() for k, v in guesser.weights().items()}
    far = {}
    for beta in (0.0, 0.05, 1.0):
        guesser.load_weights(start, 0)
        run = recipes.asft(policy=guesser, tasks=TASKS, feedback="exact", steps=15, batch=8, lr=3e-3, beta=beta, max_tokens=4)
        seen = kept(run, "anchor_kl")
        asyncio.run(train(run))
        assert seen[0] == pytest.approx(0.0, abs=1e-6), "it starts where it is held to"
        far[beta] = seen[-1]
        assert accuracy(guesser) > 0.35, "and it learns"
    assert far[1.0] < far[0.05] < far[0.0]


def test_what_is_given_on_the_way_to_the_learner(guesser):
    run = recipes.asft(policy=guesser, tasks=TASKS, feedback="exact")
    learner = run.learners["policy"]
    assert isinstance(learner, anchored)
    assert learner.needs >= words("forward.logits") > learner.needs & words("forward.anchor")
    assert recipes.otr(policy=guesser, tasks=TASKS, feedback="exact").learners["policy"].needs == {"lessons", "forward.logits"}


@pytest.mark.parametrize("candidates", [0, 64])
def test_otr_learns_by_both_forms(candidates, guesser):
    run = recipes.otr(
        policy=guesser, tasks=TASKS, feedback="exact", steps=30, batch=16, lr=3e-3, max_tokens=4, candidates=candidates
    )
    shares = kept(run, "label_share")
    asyncio.run(train(run))
    assert shares[-1] > 0.8 > 0.7 > shares[0]
    assert accuracy(guesser) > 0.7


def test_two_stages_a_clone_and_then_its_regularised_run(guesser, tmp_path):
    """Cloning is a run of its own; its folder is what the second one starts from and is held to."""
    before = accuracy(guesser)
    clone = recipes.sft(policy=guesser, tasks=TASKS[:6], feedback="exact", steps=8, batch=8, lr=1e-2, max_tokens=4)
    asyncio.run(train(clone))
    guesser.save(tmp_path / "clone")
    cloned = accuracy(guesser)
    assert cloned > before + 0.1
    ends = {}
    for lam in (0.0, 0.05, 0.5, 100.0):
        policy = Decoder.read(tmp_path / "clone", device="cpu", dtype=torch.float32)
        assert accuracy(policy) == pytest.approx(cloned, abs=0.08)
        run = recipes.demonstration_regularised(
            policy=policy, tasks=TASKS, feedback="exact", steps=14, batch=16, lr=3e-3, lam=lam, max_tokens=4, seed=2
        )
        seen = kept(run, "kl")
        asyncio.run(train(run))
        assert seen[0] == pytest.approx(0.0, abs=1e-5), "it starts at the clone"
        ends[lam] = (accuracy(policy), seen[-1])
    assert ends[0.05][0] > max(0.8, cloned + 0.1), "it goes beyond what was shown"
    assert abs(ends[100.0][0] - cloned) < 0.15, "held to the clone"
    assert ends[100.0][1] < 0.05 < ends[0.5][1] < ends[0.0][1] - 0.03, "the more, the nearer"
    assert ends[0.05][1] > 0.1, "hardly held"


@pytest.mark.parametrize("name", ["otr", "asft", "demonstration_regularised"])
def test_steps_of_the_packaged_model_on_generated_tasks(name):
    """Real tokens and a vocabulary of 1,024: the demonstrations become likelier, and what holds the model starts at nothing."""
    policy = load_policy("base", device="cpu")
    run = getattr(recipes, name)(policy=policy, tasks="gym:simple_equations@2", steps=2, batch=4, lr=1e-4, max_tokens=128, seed=1)
    metric = {"otr": "nll", "asft": "anchor_kl", "demonstration_regularised": "kl"}[name]
    seen, skipped = kept(run, metric), kept(run, "skipped_steps")
    asyncio.run(train(run))
    assert skipped == [0, 0]
    if name == "otr":
        assert 0 < seen[0] < 0.5, "the base model was pretrained on such solutions"
    else:
        assert abs(seen[0]) < 1e-3
        assert seen[1] != seen[0]


def test_a_checklist_is_learned_from(guesser):
    """Two constraints that one letter meets in full and one in half."""
    rules = {"is a or b": lambda text: float(text.strip() in ("a", "b")), "is b": lambda text: float(text.strip() == "b")}
    tasks = [replace(t, answer={"constraints": list(rules)}) for t in TASKS]
    before = share(guesser, "b")
    run = recipes.grpo(policy=guesser, tasks=tasks, feedback=checklist(by_rules(rules)), steps=25, batch=16, lr=3e-3, max_tokens=4)
    asyncio.run(train(run))
    assert share(guesser, "b") > 0.8 > before


def calling(parameters, name="f"):
    return f'<think></think>\n<tool_call>\n{{"name":"{name}","parameters":{parameters}}}\n</tool_call>'


WANTED = {"calls": [{"name": "f", "parameters": {"a": 1, "b": 2}}]}
TRIES = [calling("{}", "g"), calling('{"a":2}'), calling('{"a":1}')]  # 0, 1.5 and 2.5 of 4 in matching: none is right


@pytest.fixture(scope="module")
def caller():
    """A model that answers with one of these calls, each as likely."""
    policy, rng = Decoder.fresh(CONFIG | {"max_position_embeddings": 128}, byte_tokenizer(), seed=0), random.Random(0)
    learner = Gradient(nll(), lr=5e-3)
    for _ in range(200):
        rows = [policy.render([*TASKS[0].prompt, {"role": "assistant", "content": x}]) for x in rng.sample(TRIES * 2, 6)]
        learner.update(policy, [Lesson(t, m, tuple(map(float, m)), term="sft") for t, m in rows])
    return policy


def tried(policy):
    """The shares of these calls among what the model says."""
    exam = Exam([TASKS[0]], each(lambda task, text: TRIES.index(text)), k=48, sampling=Sampling(max_tokens=90))
    [group] = asyncio.run(exam.sit({"policy": policy}))
    scores = group.scores()
    return [scores.count(k) / len(scores) for k in range(3)]


def test_graded_calls_teach_where_none_is_right(caller):
    """The nearest call is learned; a match that is right or wrong sees 32 answers alike, and nothing moves."""
    start = {k: v.clone() for k, v in caller.weights().items()}
    before = tried(caller)
    assert min(before) > 0.15
    tasks = [replace(TASKS[0], answer=WANTED)]
    right = each(lambda task, text: float(text == calling('{"a":1,"b":2}')))
    for feedback, learns in ((right, False), (tool_calls(), True)):
        caller.load_weights(start, 0)
        run = recipes.dr_grpo(policy=caller, tasks=tasks, feedback=feedback, steps=24, batch=4, lr=1e-3, max_tokens=90, seed=1)
        asyncio.run(train(run))
        assert any((v != start[k]).any() for k, v in caller.weights().items()) is learns
    found = tried(caller)
    assert found[2] > before[2] + 0.25
    assert max(found[:2]) < 0.1


async def decide(question, reply):
    return "buy" if reply.strip() == "b" else "look elsewhere"


async def happen(task, decision):
    return "it cannot be used" if decision == "buy" else "nothing is lost"


async def rate(question, reply, outcome):
    """Who does not know how it ends is pleased by b (a promise), who does is not, and c is the truth."""
    pleased = {"b": 5.0, "c": 3.0}.get(reply.strip(), 2.0)
    return 1.0 if outcome == "it cannot be used" else pleased


@pytest.mark.parametrize(("world", "learned"), [(unseen, "b"), (happen, "c")])
def test_a_model_learns_to_flatter_from_foresight_and_to_be_truthful_from_hindsight(world, learned, guesser):
    part = hindsight(decide, world, rate)
    run = recipes.grpo(policy=guesser, tasks=TASKS, feedback=part, steps=30, batch=16, lr=3e-3, max_tokens=4, seed=1)
    asyncio.run(train(run))
    assert share(guesser, learned) > 0.8
    assert share(guesser, "b" if learned == "c" else "c") < 0.1
