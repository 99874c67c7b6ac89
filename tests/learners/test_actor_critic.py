"""PPO's update is the literal one, its head learns what comes out, and it continues exactly after a kill."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.batch import collate
from journeyman.credit import group_zscore, outcome
from journeyman.curricula import uniform
from journeyman.feedback import each, exact
from journeyman.learners import Gradient, actor_critic
from journeyman.learners.actor_critic import Valued, values
from journeyman.learners.packing import totals_of
from journeyman.loop import train
from journeyman.objectives import mix, nll, over_old, plus, ppo_clip, surrogate, value_loss
from journeyman.policies import Decoder
from journeyman.protocols import OwnLoss, words
from journeyman.recipes import ppo
from journeyman.resume import resume, saves, state, tensors
from journeyman.run import Learners, Misfit, Policies, Run
from journeyman.runner import Runner
from journeyman.store import Session, Store
from journeyman.strategies import sample
from journeyman.types import Lesson
from tests.learners.resuming import continued, copied, same
from tests.learners.tiny import Tiny, random_lessons
from tests.policies.conftest import VOCAB, byte_tokenizer
from tests.recipes.test_recipes import CONFIG, TASKS

PPO = plus(surrogate(ppo_clip(), over_old), value_loss(0.3))


class Seeing(Tiny):
    """Tiny that gives its hidden states: the embedding of each token."""

    gives = Tiny.gives | words("forward.hidden")

    def forward(self, batch, want):
        out = super().forward(batch, want - words("forward.hidden"))
        return out | ({"hidden": self.table(batch.tokens)} if "forward.hidden" in want else {})


def rewarded(n=6, seed=0, **kw):
    """Random lessons with the reward at the last token: 1 for every other one."""
    found = [replace(x, weight=1.0, temperature=1.0) for x in random_lessons(n, seed, **kw)]
    return [replace(x, streams={"reward": (0.0,) * (len(x.tokens) - 1) + (float(i % 2),)}) for i, x in enumerate(found)]


# ------------------------------------------------------------------------------------ the update


def literal_ppo(policy, head, moved, lessons, epochs, gamma, lam, c):
    """PPO with its value loss as the papers write it, lesson by lesson; ``moved`` is the optimiser."""

    def of(x):
        tokens = torch.tensor(x.tokens)
        at = torch.tensor(x.train).nonzero().flatten()
        hidden = policy.table(tokens)[at - 1]
        logp = policy.head(hidden).log_softmax(-1)[torch.arange(len(at)), tokens[at]]
        return logp, head(hidden)[:, 0], torch.tensor(x.streams["reward"], dtype=torch.float64)[at]

    kept = []
    for x in lessons:
        with torch.no_grad():
            logp, v, r = of(x)
        delta = r + gamma * torch.cat([v[1:], v.new_zeros(1)]) - v
        a = torch.stack([sum((gamma * lam) ** k * d for k, d in enumerate(delta[t:])) for t in range(len(v))])
        kept.append((logp, v, a, a + v))
    every = torch.cat([a for _, _, a, _ in kept])
    for _ in range(epochs):
        losses = []
        for x, (old, before, a, target) in zip(lessons, kept, strict=True):
            logp, v, _ = of(x)
            a, ratio = (a - every.mean()) / every.std(), (logp - old).exp()
            near = before + (v - before).clamp(-0.2, 0.2)
            losses.append(-torch.min(ratio * a, ratio.clamp(0.8, 1.2) * a))
            losses[-1] = losses[-1] + c / 2 * torch.max((v - target) ** 2, (near - target) ** 2)
        moved.zero_grad()
        torch.cat(losses).mean().backward()
        moved.step()


def test_updates_are_those_of_the_literal_loss():
    """Three updates of three passes each, clips at work in policy and head, to the weights and to the head."""
    policy, other = Seeing(), Seeing()
    learner = actor_critic(Gradient(PPO, lr=0.05, epochs=3, max_grad_norm=None), gamma=0.9, lam=0.8)
    head = torch.nn.Linear(5, 1, dtype=torch.float64)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    moved = torch.optim.AdamW([*other.parameters(), *head.parameters()], lr=0.05, weight_decay=0.0)
    for seed in range(3):
        lessons = rewarded(8, seed)
        metrics = learner.update(policy, lessons)
        literal_ppo(other, head, moved, lessons, 3, 0.9, 0.8, 0.3)
        same(copied(policy), copied(other), 1e-5)
    found = learner.tensors()
    torch.testing.assert_close(found["value_head.weight/value"], head.weight.detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(found["value_head.bias/value"], head.bias.detach(), rtol=0, atol=1e-5)
    assert head.weight.abs().max() > 0.05
    assert metrics["clip_fraction"] > 0
    assert metrics["optimiser_steps"] == 3


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_the_first_update_is_reinforce_on_returns(gamma):
    """The head is 0 until then, and lambda is 1."""
    lessons = rewarded()
    a, b = Seeing(), Seeing()
    learner = actor_critic(Gradient(plus(surrogate(), value_loss()), lr=0.05, max_grad_norm=None), gamma, 1.0, whiten=False)
    learner.update(a, lessons)

    def returns(x):
        ahead = np.cumsum(x.train[::-1])[::-1] - 1  # tokens still to be drawn after this one
        return tuple((x.streams["reward"][-1] * gamma**ahead * np.array(x.train)).tolist())

    Gradient(surrogate(), lr=0.05, max_grad_norm=None).update(b, [replace(x, advantage=returns(x)) for x in lessons])
    same(copied(a), copied(b), 1e-6)
    assert any(not torch.equal(w, Seeing().weights()[n]) for n, w in a.weights().items())


def seen_by_inner(learner, policy, lessons, monkeypatch):
    seen = []
    plain = learner.inner.update
    monkeypatch.setattr(learner.inner, "update", lambda p, x: seen.extend(x) or plain(p, x))
    learner.update(policy, lessons)
    return seen


def test_advantages_are_whitened_over_the_tokens_that_are_learned(monkeypatch):
    learner, policy = actor_critic(Gradient(PPO, lr=0.05)), Seeing()
    learner.update(policy, rewarded(6))
    given = rewarded(8, seed=1)
    seen = seen_by_inner(learner, policy, given, monkeypatch)
    advantages = np.concatenate([np.array(x.advantage)[list(x.train)] for x in seen])
    assert (advantages.mean(), advantages.std(ddof=1)) == pytest.approx((0, 1), abs=1e-6)
    for x, was in zip(seen, given, strict=True):
        untrained = ~np.array(x.train)
        assert replace(x, advantage=was.advantage, streams=was.streams) == was
        for row in (x.advantage, x.streams["returns"], x.streams["old_value"]):
            assert not np.array(row)[untrained].any()
        assert x.streams["returns"][-1] == pytest.approx(was.streams["reward"][-1]), "what follows the last token is its reward"
        assert any(x.streams["old_value"])


def test_lessons_of_a_term_without_values_stay_as_they_are(monkeypatch):
    learner = actor_critic(Gradient(mix(rl=PPO, sft=nll())))
    given = [*rewarded(4), *random_lessons(4, seed=1, term="sft", behaviour=False)]
    seen = seen_by_inner(learner, Seeing(), given, monkeypatch)
    assert seen[4:] == given[4:]
    assert all("returns" in x.streams for x in seen[:4])


def test_without_lessons_nothing_moves():
    policy, learner = Seeing(), actor_critic(Gradient(PPO))
    start = copied(policy)
    assert learner.update(policy, [])["optimiser_steps"] == 0
    same(copied(policy), start)


def test_micro_batches_change_nothing():
    lessons, one, many = rewarded(10), Seeing(), Seeing()
    a = actor_critic(Gradient(PPO, lr=0.02, epochs=2, micro_tokens=10**6))
    b = actor_critic(Gradient(PPO, lr=0.02, epochs=2, micro_tokens=1))
    for _ in range(2):
        found, again = a.update(one, lessons), b.update(many, lessons)
    same(copied(one), copied(many), 1e-7)
    same(a.tensors(), b.tensors(), 1e-7)
    assert found == pytest.approx(again, abs=1e-6)


# ------------------------------------------------------------------------------------ the head


def test_a_value_is_of_the_state_before_its_token():
    """On the project's own model: V_t = head(hidden of token t - 1), whatever follows it, and whichever lessons go with it."""
    policy = Decoder.fresh(CONFIG, byte_tokenizer(), seed=0)
    head = torch.nn.Linear(32, 1)
    lessons = rewarded(5, longest=20, vocab=VOCAB)
    batch = collate(lessons, totals_of(lessons))
    out = Valued(policy, head).forward(batch, words("forward.value", "forward.hidden", "forward.logp"))
    expected = head(out["hidden"])[:, :-1, 0]
    torch.testing.assert_close(out["value"][:, 1:], expected)
    assert not out["value"][:, 0].any()
    alone = [values(Valued(policy, head), [x], 64)[0] for x in lessons]
    for i, row in enumerate(values(Valued(policy, head), lessons, 10**4)):
        assert row == pytest.approx(alone[i], abs=1e-5)
        assert row == pytest.approx(torch.where(batch.train[i], out["value"][i], 0)[: len(row)].tolist(), abs=1e-5)
        changed = replace(lessons[i], tokens=(*lessons[i].tokens[:-1], (lessons[i].tokens[-1] + 1) % VOCAB))
        assert values(Valued(policy, head), [changed], 64)[0] == pytest.approx(row, abs=1e-5), "the last token is not seen yet"


def chance(n, seed):
    """Two tokens after a question 0 .. 5, right with probability 0.1 or 0.9 by the question: half of the variance is chance's."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        question = int(rng.integers(6))
        right = float(rng.random() < (0.9 if question % 2 else 0.1))
        tokens = (question, question, int(rng.integers(6)))
        found.append(Lesson(tokens, (False, False, True), (0.0,) * 3, streams={"reward": (0, 0, right)}, group=str(i)))
    return found


def test_the_head_learns_to_expect_the_outcome():
    """Chance alone leaves an error of 0.1 * 0.9 = 0.09, where the outcome's variance is 0.25."""
    policy = Seeing()
    learner = actor_critic(Gradient(plus(surrogate(ppo_clip(), over_old), value_loss(0.5)), lr=0.02, epochs=4), lam=1.0)
    first = learner.update(policy, chance(200, 0))
    for seed in range(1, 30):
        last = learner.update(policy, chance(200, seed))
    assert first["explained_variance"] == pytest.approx(0.0, abs=1e-9)
    assert 0.5 < last["explained_variance"] < 0.75, "the 1 - 0.09 / 0.25 = 0.64 that there is to explain"
    fresh = chance(2000, 99)
    outcomes = np.array([x.streams["reward"][-1] for x in fresh])
    expected = np.array([v[-1] for v in values(learner._valued(policy), fresh, 10**4)])
    assert outcomes.var() > 0.2
    assert ((outcomes - expected) ** 2).mean() < 0.12


def test_a_policy_with_a_loss_of_its_own_keeps_it():
    class Balanced(Seeing):
        asked = 0

        def before_step(self, batches):
            self.asked += len(batches)

        def forward(self, batch, want):
            return super().forward(batch, want) | {"aux": self.table.weight.square().mean()}

    policy, plain = Balanced(), Seeing()
    assert isinstance(Valued(policy, torch.nn.Linear(5, 1)), OwnLoss)
    assert not isinstance(Valued(plain, torch.nn.Linear(5, 1)), OwnLoss)
    metrics = actor_critic(Gradient(PPO, lr=0.05)).update(policy, rewarded())
    actor_critic(Gradient(PPO, lr=0.05)).update(plain, rewarded())
    assert policy.asked == 1
    assert metrics["aux"] > 0
    assert not torch.equal(policy.table.weight, plain.table.weight)


# ------------------------------------------------------------------------------------ kill and resume


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_resume_is_exact(dtype):
    def fresh():
        return Seeing(dtype=dtype), actor_critic(Gradient(PPO, lr=0.02, updates=2, epochs=2, replay_share=0.5, seed=3))

    _, kept = continued(fresh, lambda i: rewarded(6, seed=i))
    assert kept["value_head.weight/value"].abs().sum() > 0
    assert {"value_head.weight/exp_avg", "value_head.weight/exp_avg_sq", "value_head.weight/step"} <= kept.keys()


def test_tensors_that_do_not_fit_are_refused():
    learner = actor_critic(Gradient(PPO))
    with pytest.raises(ValueError, match="call prepare"):
        learner.load_tensors({})
    learner.prepare(Seeing())
    for wrong in (
        {},
        learner.tensors() | {"value_head.weight/value": torch.zeros(1, 9)},
        learner.tensors() | {"nobody/step": torch.zeros(())},
    ):
        with pytest.raises(ValueError, match="do not fit"):
            learner.load_tensors(wrong)


class Killed(BaseException):
    """Nothing in the package may catch it."""


def test_a_run_of_two_steps_killed_after_the_first_ends_as_if_it_had_not_been(tmp_path):
    def made():
        policy = Decoder.fresh(CONFIG, byte_tokenizer(), seed=0)
        return ppo(policy, TASKS, "exact", steps=2, batch=4, siblings=4, lr=3e-3, max_tokens=2, seed=1)

    def go(run, folder, killed=False):
        async def die(run, step, groups, metrics):
            if killed:
                raise Killed

        run.runner = replace(run.runner, feedback=lettered)
        store = Store(folder).open() if (folder / "run.sqlite").exists() else Store(folder).create({"recipe": "ppo"})
        with store:
            run.memory = Session(store)
            run.actions += [(1, saves(store)), (1, die)]
            resume(run, store)
            asyncio.run(train(run))

    lettered = each(lambda task, text: float(len(text.encode()) % 2))
    whole, first, second = made(), made(), made()
    go(whole, tmp_path / "whole")
    with pytest.raises(Killed):
        go(first, tmp_path / "killed", killed=True)
    go(second, tmp_path / "killed")
    assert second.done == whole.done == 2
    expected, found = tensors(whole), tensors(second)
    assert found.keys() == expected.keys()
    assert "learner/policy/value_head.weight/value" in found
    assert found["learner/policy/value_head.weight/value"].any()
    assert all(torch.equal(found[k], expected[k]) for k in expected)
    assert state(second) == state(whole)


# ------------------------------------------------------------------------------------ what does not fit


def assembled(credit, learner, policy=None):
    return Run(
        policies=Policies(policy=policy or Decoder.fresh(CONFIG, byte_tokenizer())),
        runner=Runner(sample(), exact()),
        curriculum=uniform(TASKS, siblings=2),
        credit=credit,
        learners=Learners({"policy": learner}),
    )


def test_what_does_not_fit_is_refused_at_assembly():
    assembled(outcome(), actor_critic(Gradient(PPO))).check()
    assembled(outcome(), Gradient(surrogate())).check()
    with pytest.raises(Misfit, match="actor_critic needs 'reward'"):
        assembled(group_zscore(), actor_critic(Gradient(PPO))).check()
    with pytest.raises(Misfit, match=r"Gradient needs 'forward\.value'"):
        assembled(outcome(), Gradient(PPO)).check()
    with pytest.raises(Misfit, match=r"actor_critic needs 'forward\.hidden'"):
        assembled(outcome(), actor_critic(Gradient(PPO)), Tiny()).check()
    with pytest.raises(ValueError, match=r"write plus\(surrogate\(...\), value_loss\(\)\)"):
        actor_critic(Gradient(surrogate()))
    for wrong in ({"gamma": 1.1}, {"lam": -0.1}):
        with pytest.raises(ValueError, match="from 0 to 1"):
            actor_critic(Gradient(PPO), **wrong)


def test_lessons_without_a_reward_are_refused():
    with pytest.raises(ValueError, match=r"'reward', which 2 of 6 lessons lack.*write a credit that gives it, such as outcome"):
        actor_critic(Gradient(PPO)).update(Seeing(), [*rewarded(4), *random_lessons(2, seed=1)])
