"""Walk 4: a mixture-of-experts policy whose load-balancing loss is taken over the whole optimiser step, not a micro-batch."""

import asyncio

import pytest
import torch
from torch import nn

from journeyman.credit import imitate_best
from journeyman.feedback import each
from journeyman.learners import Gradient
from journeyman.loop import train
from journeyman.objectives import nll
from journeyman.protocols import words
from journeyman.run import Learners, Policies, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.testing import ScriptedPolicy, adds, sums
from tests.walks.parts import once

EXPERTS = 4


class MoEPolicy(ScriptedPolicy):
    """Answers by script; learns a byte embedding, an MoE router (top 1 of 4 experts) and a head.

    Balancing loss (Qiu et al. 2025, arXiv 2501.11873, global batch): E * sum_e f_e P_e, f_e the share of the whole step's tokens
    that went to expert e (no gradient), P_e the mean routing probability, taken here as each micro-batch's part of the
    whole-step mean, so that the parts add up.
    """

    gives = words("tokens", "forward.logp", "forward.aux")

    def __init__(self):
        super().__init__(adds())
        torch.manual_seed(0)
        self.embed = nn.Embedding(256, 16).double()
        self.router = nn.Linear(16, EXPERTS, bias=False).double()
        self.experts = nn.ModuleList(nn.Linear(16, 256) for _ in range(EXPERTS)).double()
        self.share = torch.zeros(EXPERTS).double()
        self.tokens = 0
        self.seen = []

    def route(self, batch):
        hidden = self.embed(batch.tokens[:, :-1])
        return hidden, self.router(hidden).softmax(-1), batch.train[:, 1:]

    @torch.no_grad()
    def before_step(self, batches):
        counts = torch.zeros(EXPERTS).double()
        for batch in batches:
            _, probability, mask = self.route(batch)
            counts += torch.bincount(probability[mask].argmax(-1), minlength=EXPERTS)
        self.tokens = int(counts.sum())
        self.share = counts / self.tokens
        self.seen.append(len(batches))

    def forward(self, batch, want):
        hidden, probability, mask = self.route(batch)
        chosen = probability.argmax(-1)
        logits = torch.stack([expert(hidden) for expert in self.experts], dim=-2)  # (B, T-1, E, V)
        at = chosen[..., None, None].expand(*chosen.shape, 1, logits.shape[-1])
        weight = probability.gather(-1, chosen[..., None])
        logits = logits.gather(-2, at).squeeze(-2) * weight
        logp = logits.log_softmax(-1).gather(-1, batch.tokens[:, 1:, None]).squeeze(-1)
        part = probability[mask].sum(0) / self.tokens
        return {
            "logp": torch.cat([logp.new_zeros(len(logp), 1), logp], 1),
            "aux": 0.1 * EXPERTS * (self.share * part).sum(),
        }

    def trained(self):
        modules = nn.ModuleDict({"embed": self.embed, "router": self.router, "experts": self.experts})
        return list(modules.named_parameters())

    def weights(self):
        return {k: v.detach() for k, v in self.trained()}

    def after_step(self, stats):
        self.version += 1


def gradients(micro_tokens):
    """The learner's gradient of one step on the same lessons, in micro-batches of at most so many tokens."""
    policy = MoEPolicy()
    learner = Gradient(nll(), lr=1e-3, max_grad_norm=None, micro_tokens=micro_tokens)
    run = Run(
        Policies(policy=policy),
        Runner(sample(), each(lambda task, answer: float(answer == task.answer))),
        once(sums(24)),
        imitate_best(),
        Learners({"policy": learner}),
        last=3,
        batch=24,
    )
    asyncio.run(train(run))
    return policy, {k: v.detach().clone() for k, v in policy.trained()}


def test_the_balancing_loss_does_not_depend_on_micro_batches():
    whole, one = gradients(micro_tokens=10**6)
    split, many = gradients(micro_tokens=64)
    assert set(whole.seen) == {1}
    assert min(split.seen) > 3, "the step was not split"
    assert whole.version == split.version == 3
    for name in one:
        assert many[name] == pytest.approx(one[name], abs=1e-12), name


def test_balancing_moves_the_router():
    policy, after = gradients(micro_tokens=10**6)
    before = dict(MoEPolicy().trained())["router.weight"]
    assert (after["router.weight"] - before).abs().max() > 1e-4
    assert policy.share.sum() == pytest.approx(1.0)
