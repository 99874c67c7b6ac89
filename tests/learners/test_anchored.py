"""ASFT: the card's numbers, what the anchor is and is not, and that it holds."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from journeyman.batch import collate
from journeyman.credit import group_mean
from journeyman.curricula import uniform
from journeyman.feedback import exact
from journeyman.learners import Gradient, anchored
from journeyman.learners.anchored import Held, forward_kl
from journeyman.learners.packing import totals_of
from journeyman.objectives import anchor_kl, no_clip, plus, probability, surrogate, token_mean
from journeyman.policies import Decoder, lora
from journeyman.protocols import OwnLoss, words
from journeyman.run import Learners, Misfit, Policies, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from tests.learners.resuming import continued, copied, same
from tests.learners.tiny import Tiny, random_lessons
from tests.objectives.batches import batch_of
from tests.policies.conftest import VOCAB, byte_tokenizer
from tests.recipes.test_recipes import CONFIG, TASKS

DFT = surrogate(no_clip, probability, token_mean)
ANCHOR = words("forward.anchor")


def asft(beta=0.05):
    return plus(DFT, anchor_kl(beta))


class Whole(Tiny):
    """Tiny that gives its distributions."""

    gives = Tiny.gives | words("forward.logits")

    def forward(self, batch, want):
        out = super().forward(batch, want - words("forward.logits"))
        if "forward.logits" not in want:
            return out
        warm = batch.temperature[:, None, None].to(self.head.weight.dtype)
        logits = F.pad(self.head(self.table(batch.tokens[:, :-1])) / warm, (0, 0, 1, 0))
        return out | {"logits": torch.where(batch.train[..., None], logits, 0.0)}


def demonstrations(n=8, seed=0):
    """Random lessons whose trained tokens have advantage 1."""
    return [replace(x, advantage=tuple(map(float, x.train)), weight=1.0) for x in random_lessons(n, seed)]


def drift(start, policy, lessons):
    """Mean KL(start || policy) over the trained tokens of lessons, from their whole distributions."""
    batch = collate(lessons, totals_of(lessons))
    with torch.no_grad():
        p, q = (x.forward(batch, words("forward.logits"))["logits"][batch.train].softmax(-1) for x in (start, policy))
    return (p * (p / q).log()).sum(-1).mean().item()


# ------------------------------------------------------------------------------------ the card


def test_the_card():
    """pi = (.2, .8), base = (.5, .5), label 0."""
    pi, base = torch.tensor([[0.2, 0.8]], dtype=torch.float64).log(), torch.tensor([[0.5, 0.5]], dtype=torch.float64).log()
    assert forward_kl(base, pi).item() == pytest.approx(0.22314, abs=1e-5)
    assert forward_kl(pi, base).item() == pytest.approx(0.19275, abs=1e-5), "the other direction"
    batch, theta = batch_of([[pi[0, 0].item()]], [1.0])
    batch = batch.with_out({"logp": theta, "anchor": forward_kl(base, pi)[:, None]})
    loss, metrics = asft()(batch)
    assert loss.item() == pytest.approx(0.33304, abs=1e-5)
    assert DFT(batch)[0].item() == pytest.approx(0.32189, abs=1e-5)
    assert metrics["anchor_kl"].tolist() == pytest.approx([0.22314, 1], abs=1e-5)


def literal_asft(policy, base, lessons, beta):
    """The paper's loss, token by token."""
    losses = []
    for x in lessons:
        for t in [t for t, train in enumerate(x.train) if train]:
            before = torch.tensor(x.tokens[t - 1])
            own = (policy.head(policy.table(before)) / x.temperature).log_softmax(-1)
            other = (base.head(base.table(before)) / x.temperature).log_softmax(-1).detach()
            lp = own[x.tokens[t]]
            losses.append(-lp.exp().detach() * lp + beta * (other.exp() * (other - own)).sum())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_that_of_the_papers_loss(seed):
    policy, base, lessons = Whole(seed), Whole(seed + 10), demonstrations(seed=seed)
    batch = collate(lessons, totals_of(lessons))
    out = Held(policy, base.frozen()).forward(batch, ANCHOR | words("forward.logp"))
    loss, _ = asft(0.7)(batch.with_out(out))
    expected = literal_asft(policy, base, lessons, 0.7)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    weights = list(policy.parameters())
    for a, b in zip(torch.autograd.grad(loss, weights), torch.autograd.grad(expected, weights), strict=True):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7)


# ------------------------------------------------------------------------------------ the anchor


def test_without_weight_it_is_dft():
    a, b = Whole(), Whole()
    held, free = anchored(Gradient(asft(0.0), lr=0.05)), Gradient(DFT, lr=0.05)
    for seed in range(3):
        held.update(a, demonstrations(seed=seed))
        free.update(b, demonstrations(seed=seed))
    same(copied(a), copied(b))
    assert any(not torch.equal(w, Whole().weights()[n]) for n, w in a.weights().items())


@pytest.mark.parametrize("kind", ["tiny", "decoder", "adapters"])
def test_at_the_start_there_is_no_divergence_and_no_pull(kind):
    policy = Whole() if kind == "tiny" else Decoder.fresh(CONFIG, byte_tokenizer(), seed=0)
    policy = lora(policy, 2) if kind == "adapters" else policy
    lessons = [replace(x, weight=1.0) for x in random_lessons(6, vocab=7 if kind == "tiny" else VOCAB, longest=20)]
    batch = collate(lessons, totals_of(lessons))
    anchor = Held(policy, policy.frozen()).forward(batch, ANCHOR)["anchor"]
    assert anchor.abs().max() < 1e-6
    anchor.sum().backward()
    assert all(p.grad is None or p.grad.abs().max() < 1e-5 for _, p in policy.trained())


def test_what_is_not_trained_is_left_out_and_the_reference_stays():
    policy = Whole()
    learner = anchored(Gradient(asft(1.0), lr=0.1))
    learner.prepare(policy)
    start = policy.frozen()
    for seed in range(5):
        learner.update(policy, demonstrations(seed=seed))
    lessons = demonstrations(seed=9)
    batch = collate(lessons, totals_of(lessons))
    anchor = learner._held(policy).forward(batch, ANCHOR)["anchor"]
    assert not anchor[~batch.train].any()
    assert (anchor[batch.train] > 0).all()
    assert anchor[batch.train].mean().item() == pytest.approx(drift(start, policy, lessons), abs=1e-9)


def test_micro_batches_change_nothing():
    one, many = Whole(), Whole()
    a, b = (anchored(Gradient(asft(1.0), lr=0.02, updates=2, micro_tokens=n)) for n in (10**6, 1))
    for seed in range(3):
        found, again = a.update(one, demonstrations(seed=seed)), b.update(many, demonstrations(seed=seed))
    same(copied(one), copied(many), 1e-7)
    assert found == pytest.approx(again, abs=1e-6)
    assert found["anchor_kl"] > 0


def test_it_stays_nearer_to_the_start_than_dft_and_learns():
    lessons = demonstrations(12, seed=3)
    policies = {beta: Whole() for beta in (0.0, 0.05, 1.0)}
    for beta, policy in policies.items():
        learner = anchored(Gradient(asft(beta), lr=0.03))
        for _ in range(80):
            learner.update(policy, lessons)
    batch = collate(lessons, totals_of(lessons))
    logp = {b: p.forward(batch, words("forward.logp"))["logp"][batch.train].exp().mean().item() for b, p in policies.items()}
    far = {beta: drift(Whole(), policy, lessons) for beta, policy in policies.items()}
    assert far[1.0] < far[0.05] < far[0.0]
    assert far[1.0] < 0.3 * far[0.0]
    start = Whole().forward(batch, words("forward.logp"))["logp"][batch.train].exp().mean().item()
    assert logp[0.05] > start + 0.05, "and it has learned"


def test_a_policy_with_a_loss_of_its_own_keeps_it():
    class Balanced(Whole):
        asked = 0

        def before_step(self, batches):
            self.asked += len(batches)

        def forward(self, batch, want):
            return super().forward(batch, want) | {"aux": self.table.weight.square().mean()}

    policy, plain = Balanced(), Whole()
    assert isinstance(Held(policy, policy.frozen()), OwnLoss)
    assert not isinstance(Held(plain, plain.frozen()), OwnLoss)
    metrics = anchored(Gradient(asft(), lr=0.05)).update(policy, demonstrations())
    assert policy.asked == 1
    assert metrics["aux"] > 0


def test_resume_is_exact():
    def fresh():
        return Whole(), anchored(Gradient(asft(1.0), lr=0.02, updates=2, epochs=2, replay_share=0.5, seed=3))

    continued(fresh, lambda i: demonstrations(6, seed=i))


# ------------------------------------------------------------------------------------ what does not fit


def test_what_does_not_fit_is_refused():
    def assembled(learner, policy):
        parts = {"policies": Policies(policy=policy), "runner": Runner(sample(), exact())}
        learners = Learners({"policy": learner})
        return Run(**parts, curriculum=uniform(TASKS, siblings=2), credit=group_mean(), learners=learners)

    decoder = Decoder.fresh(CONFIG, byte_tokenizer())
    assembled(anchored(Gradient(asft())), decoder).check()
    with pytest.raises(Misfit, match=r"Gradient needs 'forward\.anchor'"):
        assembled(Gradient(asft()), decoder).check()
    with pytest.raises(Misfit, match=r"anchored needs 'forward\.logits'"):
        assembled(anchored(Gradient(asft())), Tiny()).check()
    with pytest.raises(ValueError, match=r"write plus\(surrogate\(...\), anchor_kl\(\)\)"):
        anchored(Gradient(DFT))
    with pytest.raises(ValueError, match="expected a number of at least 0"):
        anchor_kl(-1.0)
