"""Every recipe runs two steps on a real (tiny) model; those that sample must learn a toy task, and a control must not."""

import asyncio
import inspect
import random
from dataclasses import replace

import pytest
import torch

from journeyman import recipes
from journeyman.assemble import Options, build
from journeyman.evaluation import Exam
from journeyman.feedback import exact, shuffled
from journeyman.feedback.critique import of_steps
from journeyman.learners import Gradient
from journeyman.loop import train
from journeyman.objectives import nll
from journeyman.policies import Decoder
from journeyman.types import Lesson, Sampling, Task, user
from tests.policies.conftest import VOCAB, byte_tokenizer

LETTERS = "abcd"
# Which letter is right depends on the question; nothing in it says so, it has to be found out by trying.
TASKS = [Task(f"letter/{i}", user(q), LETTERS[i % 4], source="letter", solution=LETTERS[i % 4]) for i, q in enumerate("pqrstuvw")]
CONFIG = {
    "model_type": "qwen3", "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 64,
    "tie_word_embeddings": True, "eos_token_id": 256, "initializer_range": 0.2,
}  # fmt: skip


def fresh():
    return Decoder.fresh(CONFIG, byte_tokenizer(), seed=0)


def taught(say):
    """Weights of a model that imitates ``say(rng)`` after every question."""
    torch.set_num_threads(1)
    policy, rng = fresh(), random.Random(0)
    learner = Gradient(nll(), lr=3e-3)
    for _ in range(60):
        lessons = []
        for task in TASKS * 2:
            tokens, mask = policy.render([*task.prompt, {"role": "assistant", "content": say(rng)}])
            lessons.append(Lesson(tokens, mask, tuple(map(float, mask)), term="sft"))
        learner.update(policy, lessons)
    return {k: v.clone() for k, v in policy.weights().items()}


@pytest.fixture(scope="session")
def guesser_weights():
    """A model that answers every question with one of four letters, each as likely."""
    return taught(lambda rng: rng.choice(LETTERS))


@pytest.fixture
def guesser(guesser_weights):
    torch.set_num_threads(1)
    policy = fresh()
    policy.load_weights(guesser_weights, 0)
    return policy


def accuracy(policy):
    groups = asyncio.run(Exam(TASKS, exact(), k=32, sampling=Sampling(max_tokens=4)).sit({"policy": policy}))
    scores = [s for g in groups for s in g.scores()]
    return sum(scores) / len(scores)


def guide_of(policy):
    """A guide of the same weights as a policy."""
    guide = Decoder.fresh(CONFIG, byte_tokenizer(), "guide", seed=0)
    guide.load_weights({k: v.clone() for k, v in policy.weights().items()}, 0)
    return guide


async def letters(task, text):
    """A critic of the toy task."""
    return of_steps(text, [float(text.strip() == task.answer)])


@pytest.mark.parametrize("name", recipes.__all__)
def test_two_steps(name, guesser):
    recipe = getattr(recipes, name)
    takes = inspect.signature(recipe).parameters
    assert len(takes) <= 12
    assert recipe.__doc__
    small = {"steps": 2, "batch": 4, "siblings": 4, "updates": 2, "max_tokens": 4, "soft": 2, "seed": 1, "remove": 2, "turns": 2}
    small |= {"critic": letters, "again": "No", "hint": "{answer}", "guide": guide_of(guesser)}
    run = recipe(policy=guesser, tasks=TASKS, feedback="exact", **{k: v for k, v in small.items() if k in takes})
    start = {k: v.clone() for k, v in guesser.weights().items()}
    seen = []

    async def watch(run, step, groups, metrics):
        seen.append((step, len(groups), metrics))

    run.actions.append((1, watch))
    asyncio.run(train(run))
    assert [s for s, *_ in seen] == list(range(1, run.last + 1))
    assert all(n >= 4 for _, n, _ in seen)
    assert all(m["skipped_steps"] == 0 for *_, m in seen)
    assert any((v != start[k]).any() for k, v in guesser.weights().items()), "nothing was learned"


LEARNERS = {
    "expert_iteration": {"lr": 1e-2, "steps": 20},
    "grpo": {"lr": 3e-3, "steps": 40, "batch": 32},
    "dr_grpo": {"lr": 3e-3, "steps": 80, "batch": 32},
    "rloo": {"lr": 3e-3, "steps": 90, "batch": 32},
    "dapo": {"lr": 3e-3, "steps": 40, "batch": 32, "soft": 1, "refills": 1},
    "sft": {"lr": 1e-2, "steps": 15},
    "star": {"lr": 5e-3, "steps": 7, "updates": 60, "batch": 128, "temperature": 1.0},
    "rft": {"lr": 1e-2, "updates": 1, "epochs": 15, "siblings": 16, "keep": 2},
    "dpo": {"lr": 1e-3, "steps": 24, "batch": 32, "keep": 8},
    "ipo": {"lr": 3e-3, "steps": 24, "batch": 32, "keep": 8},
    "orpo": {"lr": 3e-3, "steps": 8, "batch": 32, "keep": 8},
    "iterative_dpo": {"lr": 3e-3, "steps": 8, "batch": 32, "keep": 8},
    "nft": {"lr": 2e-3, "steps": 70, "batch": 32, "refills": 1},
    "ppo": {"lr": 3e-3, "steps": 25, "batch": 32, "lam": 0.95},
    "reinforce_pp": {"lr": 3e-3, "steps": 60, "batch": 32},
    "luffy": {"lr": 3e-3, "steps": 50, "batch": 32},
    "nash_mp": {"lr": 3e-3, "steps": 44, "batch": 32, "updates": 2},
    "hpt": {"lr": 3e-3, "steps": 80, "batch": 32},
    "prof": {"lr": 3e-3, "steps": 40, "batch": 32, "critic": letters},
    "capo": {"lr": 3e-3, "steps": 40, "batch": 32, "critic": letters},
    "text2grad": {"lr": 3e-3, "steps": 80, "batch": 32, "critic": letters},
    "fine_grained": {"lr": 3e-3, "steps": 40, "batch": 32, "critic": letters},
    "critique_grpo": {"lr": 3e-3, "steps": 80, "batch": 16, "again": "No"},
    "expo": {"lr": 3e-3, "steps": 30, "batch": 32, "hint": "{answer}"},
    "ufo": {"lr": 3e-3, "steps": 40, "batch": 16, "turns": 2, "again": "No"},
    "kto": {"lr": 1e-3, "steps": 50, "batch": 32},
    "simpo": {"lr": 3e-3, "steps": 40, "batch": 32, "keep": 8},
    "demonstration_regularised": {"lr": 3e-3, "steps": 35, "batch": 32},
    "g2rpo": {"lr": 3e-3, "steps": 80, "batch": 16},
    "repexp": {"lr": 3e-3, "steps": 65, "batch": 16},
    "rlgf": {"lr": 1e-3, "steps": 40, "batch": 16, "guide_first": "lots(0)", "mixing": 1.0},
    "cure": {"lr": 3e-3, "steps": 60, "siblings": 8},
}
ALIKE = ("asft", "cispo", "clip_cov", "d3s", "dft", "empg", "gspo", "hapo", "hispo", "kl_cov", "otr", "sapo",
         "siri")  # fmt: skip
LEARNERS |= {name: {"lr": 3e-3, "steps": 50, "batch": 32} for name in ALIKE}


@pytest.mark.parametrize("name", recipes.__all__)
def test_it_learns(name, guesser):
    before = accuracy(guesser)
    assert 0.15 < before < 0.4
    more = {"guide": guide_of(guesser)} if name == "rlgf" else {}
    run = getattr(recipes, name)(
        policy=guesser, tasks=TASKS, feedback="exact", **{"batch": 8, "max_tokens": 4, "seed": 2} | LEARNERS[name] | more
    )
    asyncio.run(train(run))
    assert accuracy(guesser) > 0.8, f"{name} began at {before}"


def test_ppo_learns_with_its_own_lam(guesser):
    asyncio.run(train(recipes.ppo(guesser, TASKS, "exact", steps=40, batch=32, lr=3e-3, max_tokens=4, seed=2)))
    assert accuracy(guesser) > 0.8


@pytest.mark.parametrize("name", ["expert_iteration", "grpo", "rloo"])
def test_the_shuffled_control_does_not(name, guesser):
    run = getattr(recipes, name)(
        policy=guesser, tasks=TASKS, feedback="exact", **{"batch": 8, "max_tokens": 4, "seed": 2} | LEARNERS[name]
    )
    run.runner = replace(run.runner, feedback=shuffled(run.runner.feedback, seed=2))
    asyncio.run(train(run))
    assert accuracy(guesser) < 0.55


def test_a_kl_penalty_makes_a_reference_only_when_asked(guesser):
    without = recipes.grpo(policy=guesser, tasks=TASKS, feedback="exact")
    assert "ref_logp" not in without.learners["policy"].needs
    run = recipes.grpo(policy=guesser, tasks=TASKS, feedback="exact", beta=0.5, steps=3, batch=8, max_tokens=4, lr=1e-3)
    seen = []

    async def watch(run, step, groups, metrics):
        seen.append(metrics["kl"])

    run.actions.append((1, watch))
    asyncio.run(train(run))
    assert seen[0] == pytest.approx(0.0, abs=1e-6), "the policy starts at its reference"
    assert seen[-1] > 0


def test_exams_are_sat_at_temperature_1_whatever_a_recipe_trains_with(tmp_path):
    for options, expected in ((Options(out=tmp_path), 1.0), (Options(out=tmp_path, eval_temperature=0.0), 0.0)):
        run, exam = build("rft", {"tasks": "gym:gcd@0"}, options)
        assert (run.runner.sampling.temperature, exam.sampling.temperature) == (0.7, expected)
        assert exam.sampling.max_tokens == run.runner.sampling.max_tokens
