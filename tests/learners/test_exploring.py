"""RepExp: the card's numbers, the reward that the learner makes of them, and what it moves."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.batch import collate
from journeyman.credit.novelty import elliptical, projected, unlike
from journeyman.credit.rules import zscores
from journeyman.learners import Gradient, exploring
from journeyman.learners.packing import totals_of
from journeyman.objectives import mix, nll, over_old, ppo_clip, sequence_mean, surrogate
from journeyman.policies import Decoder
from journeyman.protocols import words
from journeyman.types import Lesson
from tests.learners.resuming import continued, copied, same
from tests.learners.test_actor_critic import Seeing, rewarded, seen_by_inner
from tests.learners.tiny import random_lessons
from tests.policies.conftest import byte_tokenizer
from tests.recipes.test_recipes import CONFIG, TASKS

GRPO = surrogate(ppo_clip(), over_old, sequence_mean)
CARD = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


def grouped(n=8, seed=0, groups=2, right=None):
    """Lessons of several groups, with the reward at the last token."""
    found = [replace(x, group=f"g{i % groups}") for i, x in enumerate(rewarded(n, seed))]
    if right is None:
        return found
    return [replace(x, streams={"reward": (0.0,) * (len(x.tokens) - 1) + (r,)}) for x, r in zip(found, right, strict=True)]


# ------------------------------------------------------------------------------------ novelty


def test_the_cards_numbers():
    assert elliptical(1.0)(CARD) == pytest.approx([1 / 3, 1 / 3, 1 / 2])
    assert elliptical(1.0, apart=True)(CARD) == pytest.approx([0.5, 0.5, 1.0])
    assert elliptical(0.01, centred=True)(CARD) == pytest.approx([0.1654, 0.1654, 0.6617], abs=1e-4)
    assert elliptical(0.01, apart=True, centred=True)(CARD) == pytest.approx([0.1982, 0.1982, 1.956], abs=1e-3)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("shape", [(6, 3), (4, 9)])
def test_novelty_is_that_of_the_papers_inverse(shape, centred):
    h = np.random.default_rng(0).normal(size=shape)
    x = h - h.mean(0) if centred else h
    whole = np.linalg.inv(0.3 * np.eye(shape[1]) + x.T @ x)
    assert elliptical(0.3, centred=centred)(h) == pytest.approx([v @ whole @ v for v in x])
    others = [np.linalg.inv(0.3 * np.eye(shape[1]) + x.T @ x - np.outer(v, v)) for v in x]
    assert elliptical(0.3, True, centred)(h) == pytest.approx([v @ inverse @ v for v, inverse in zip(x, others, strict=True)])


def test_with_few_answers_leverage_tells_little_and_leaving_out_much():
    h = np.random.default_rng(1).normal(size=(8, 32))
    h[0] *= 3
    near = elliptical()(h)
    assert np.ptp(near) < 0.01
    assert elliptical(apart=True)(h).argmax() == 0


def test_the_coreset_is_the_papers_greedy_one():
    h = np.random.default_rng(2).normal(size=(7, 3))
    kept = [4]
    while len(kept) < 4:
        inverse = np.linalg.inv(0.5 * np.eye(3) + h[kept].T @ h[kept])
        kept.append(max((i for i in range(7) if i not in kept), key=lambda i: h[i] @ inverse @ h[i]))
    assert unlike(h, 4, first=4, lam=0.5) == kept
    assert sorted(unlike(h, 9, first=0)) == list(range(7))
    assert unlike(CARD, 2, first=0) == [0, 2]


def test_a_projection_keeps_distances_roughly_and_small_vectors_exactly():
    h = np.random.default_rng(3).normal(size=(20, 400))
    found = projected(h, 128, "a")
    assert found.shape == (20, 128)
    assert np.linalg.norm(found, axis=1) / np.linalg.norm(h, axis=1) == pytest.approx(np.ones(20), abs=0.3)
    assert (projected(h, 128, "a") == found).all()
    assert not np.allclose(projected(h, 128, "b"), found)
    assert projected(h, 400, "a") is h


# ------------------------------------------------------------------------------------ the learner


def states(policy, lesson):
    """The mean hidden state of a lesson's learned tokens, by hand."""
    at = torch.tensor(lesson.train)
    return policy.table(torch.tensor(lesson.tokens))[at].mean(0).detach().numpy()


def expected(lessons, start, bonus, novelty, solved):
    found = {}
    for g in {x.group for x in lessons}:
        own = [i for i, x in enumerate(lessons) if x.group == g]
        r = np.array([sum(lessons[i].streams["reward"]) for i in own])
        h = np.array([states(start, lessons[i]) for i in own])
        paid = solved is None or r.max() >= solved
        found |= dict(zip(own, zscores(r + bonus * novelty(h) * paid), strict=True))
    return [found[i] for i in range(len(lessons))]


@pytest.mark.parametrize("solved", [1.0, None])
@pytest.mark.parametrize("novelty", [elliptical(), elliptical(0.1, apart=True, centred=True)])
def test_the_advantage_is_of_reward_and_bonus_by_the_starting_weights(novelty, solved, monkeypatch):
    start, policy = Seeing(), Seeing()
    learner = exploring(Gradient(GRPO, lr=0.05), 0.5, novelty, width=32, solved=solved)
    learner.update(policy, grouped(8, seed=5))
    assert not torch.equal(policy.table.weight, start.table.weight)
    given = grouped(12, seed=1, groups=3, right=[float(i % 2 and i % 3 != 2) for i in range(12)])
    seen = seen_by_inner(learner, policy, given, monkeypatch)
    found = [max(x.advantage, key=abs) for x in seen]
    assert found == pytest.approx(expected(given, start, 0.5, novelty, solved))
    for x, was in zip(seen, given, strict=True):
        assert replace(x, advantage=was.advantage) == was
        assert not any(a for a, t in zip(x.advantage, x.train, strict=True) if not t)
    wrong = [a for a, x in zip(found, given, strict=True) if x.group == "g2"]
    assert any(wrong) == (solved is None), "no bonus where all are wrong"


def test_without_a_bonus_it_is_grpo():
    a, b, lessons = Seeing(), Seeing(), grouped()
    exploring(Gradient(GRPO, lr=0.05), bonus=0.0).update(a, lessons)
    given = expected(lessons, b, 0.0, elliptical(), 1.0)
    by_hand = [replace(x, advantage=tuple(v * t for t in x.train)) for x, v in zip(lessons, given, strict=True)]
    Gradient(GRPO, lr=0.05).update(b, by_hand)
    same(copied(a), copied(b), 1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_it_has_the_gradient_of_the_papers_loss(seed):
    """One step of plain descent: GRPO's loss on R + bonus * novelty, answer by answer."""
    start, lessons = Seeing(), grouped(8, seed)
    learner = exploring(Gradient(GRPO, lr=0.0), 0.3, elliptical(0.1))
    seen = []
    learner.prepare(start)
    plain = learner.inner.update
    learner.inner.update = lambda p, x: seen.extend(x) or plain(p, x)
    learner.update(start, lessons)
    batch = collate(seen, totals_of(seen))
    with torch.no_grad():
        old = start.forward(batch, words("forward.logp"))["logp"]
    moved = Seeing(seed=7)
    batch = replace(batch, streams={**batch.streams, "old_logp": old}).with_out(moved.forward(batch, words("forward.logp")))
    loss = torch.zeros((), dtype=torch.float64)
    for i, a in enumerate(expected(lessons, start, 0.3, elliptical(0.1), 1.0)):
        on = batch.train[i]
        ratio = (batch.logp[i][on] - old[i][on]).exp()
        gain = torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a).mean()
        loss = loss - lessons[i].weight * gain / len(lessons)
    wanted = torch.autograd.grad(loss, list(moved.parameters()), retain_graph=True)
    found = torch.autograd.grad(GRPO(batch)[0], list(moved.parameters()))
    for x, y in zip(found, wanted, strict=True):
        assert y.abs().max() > 1e-4
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-7)  # a batch's advantages are float32


def test_lessons_without_reward_stay_as_they_are_and_none_moves_nothing(monkeypatch):
    learner = exploring(Gradient(mix(rl=GRPO, sft=nll())))
    given = [*grouped(4), *random_lessons(4, seed=1, term="sft", behaviour=False)]
    seen = seen_by_inner(learner, Seeing(), given, monkeypatch)
    assert seen[4:] == given[4:]
    policy = Seeing()
    start = copied(policy)
    assert "novelty" not in exploring(Gradient(GRPO)).update(policy, [])
    same(copied(policy), start)


def test_micro_batches_change_nothing():
    lessons, one, many = grouped(10), Seeing(), Seeing()
    a = exploring(Gradient(GRPO, lr=0.02, micro_tokens=10**6), 0.5)
    b = exploring(Gradient(GRPO, lr=0.02, micro_tokens=1), 0.5)
    for _ in range(2):
        found, again = a.update(one, lessons), b.update(many, lessons)
    same(copied(one), copied(many), 1e-7)
    assert found == pytest.approx(again, abs=1e-6)


def test_resume_is_exact():
    def fresh():
        return Seeing(), exploring(Gradient(GRPO, lr=0.02, updates=2, seed=3), 0.5, elliptical(apart=True), width=2)

    continued(fresh, lambda i: grouped(6, seed=i))


def test_among_right_answers_the_rare_one_is_raised():
    """Seven right answers a and one b: GRPO has nothing to learn; the bonus raises b, and lowers a."""
    policy = Decoder.fresh(CONFIG, byte_tokenizer(), seed=0)

    def lesson(text, i):
        tokens, train = policy.render([*TASKS[0].prompt, {"role": "assistant", "content": text}])
        last = max(t for t, on in enumerate(train) if on)
        reward = tuple(float(t == last) for t in range(len(tokens)))
        return Lesson(tokens, train, (0.0,) * len(tokens), streams={"reward": reward}, group="g", attempt=str(i))

    lessons = [lesson("aaaaaaab"[i], i) for i in range(8)]

    def logps():
        return [asyncio.run(policy.logp(x.tokens))[x.train.index(True)] for x in (lessons[0], lessons[-1])]

    before = logps()
    assert exploring(Gradient(GRPO, lr=1e-3), bonus=0.0).update(policy, lessons)["lessons_with_signal"] == 0
    assert logps() == before
    metrics = exploring(Gradient(GRPO, lr=1e-3), 0.01, elliptical(apart=True, centred=True)).update(policy, lessons)
    assert metrics["novelty"] > 0
    a, b = (y - x for x, y in zip(before, logps(), strict=True))
    assert b > 0 > a


def test_the_impossible_is_refused():
    for make in (lambda: exploring(Gradient(GRPO), bonus=-1.0), lambda: exploring(Gradient(GRPO), width=0),
                 lambda: elliptical(0.0)):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            make()
    needs = exploring(Gradient(GRPO)).needs
    assert {"reward", "siblings", "forward.hidden"} <= needs
    assert "advantage" not in needs
