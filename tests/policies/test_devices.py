"""Sampling and learning put every tensor on the model's device, checked without one by a pretend device; on CUDA where there is."""

import asyncio
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from journeyman.batch import collate
from journeyman.learners import Gradient
from journeyman.learners.packing import totals_of
from journeyman.objectives import over_behaviour, ppo_clip, sequence_mean, surrogate
from journeyman.policies import Decoder
from journeyman.policies.engine import Engine
from journeyman.policies.graphs import Steps
from journeyman.protocols import words
from journeyman.types import Lesson, Sampling
from tests.contract.test_objectives import OBJECTIVES, Table, lessons
from tests.objectives.preferences import JOINED, exact_batch, random_pairs
from tests.policies.conftest import VOCAB
from tests.policies.elsewhere import DEVICE, Elsewhere, There

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
SAMPLING = [Sampling(9), Sampling(30), Sampling(14, temperature=0.7), Sampling(20, top_p=0.8), Sampling(5, temperature=0.0)]


class Plain(Engine):
    """An engine without inference mode, which wrapped tensors cannot stand."""

    step = torch.no_grad()(Engine.step.__wrapped__)
    _reorder = torch.no_grad()(Engine._reorder.__wrapped__)


def drawn(engine):
    """Prompts of many lengths, siblings among them, in fewer rows than calls."""

    async def gather():
        return await asyncio.gather(
            *(engine.sample(tuple(range(1, 3 + 5 * (i % 7))), SAMPLING[i % len(SAMPLING)], i) for i in range(15))
        )

    return asyncio.run(gather())


def same(a, b):
    """Most draws are equal (one at the very edge of a token may fall on either side), and then so are log-probabilities."""
    equal = [(x, y) for x, y in zip(a, b, strict=True) if x.tokens == y.tokens]
    assert len(equal) >= len(a) - 1
    for x, y in equal:
        np.testing.assert_allclose(x.logp, y.logp, atol=1e-4)


def update(policy):
    """One step of a learner whose objective asks for old log-probabilities; what is left of it."""
    source = torch.Generator().manual_seed(3)
    lessons = []
    for i, length in enumerate((14, 9, 21, 12)):
        tokens = tuple(torch.randint(0, VOCAB, (length,), generator=source).tolist())
        train, logp = (False,) * 4 + (True,) * (length - 4), (-3.0,) * length
        lessons.append(Lesson(tokens, train, (1.0 - 2 * (i % 2),) * length, behaviour_logp=logp, group="g"))
    learner = Gradient(surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=sequence_mean), lr=1e-4)
    learner.prepare(policy)
    return learner.update(policy, lessons), lessons


def test_the_pretend_device_refuses_what_a_gpu_would():
    with Elsewhere():
        here, there = torch.ones(3), torch.arange(3, device=DEVICE)
        assert isinstance(there, There)
        assert (2 * there).tolist() == [0, 2, 4]
        assert torch.tensor([1, 2], device=DEVICE).cpu().numpy().tolist() == [1, 2]
        assert (there.float() + here[0]).tolist() == [1, 2, 3]
        for wrong in (lambda: there + here, lambda: here[there], lambda: there.numpy()):
            with pytest.raises((RuntimeError, TypeError)):
                wrong()


@pytest.mark.parametrize("steps", [None, Steps(backend=None)], ids=["plain", "static"])
def test_sampling_on_another_device(folder, steps):
    with Elsewhere():
        policy = Decoder.read(folder)
        here = drawn(Engine(policy.fused, policy.chat, max_rows=7))
        policy.model.to(DEVICE)
        policy.after_step({})
        assert isinstance(policy.fused().embed, There)
        there = drawn(Plain(policy.fused, policy.chat, max_rows=7, steps=steps))
    same(here, there)


def test_learning_scoring_and_saving_on_another_device(folder, tmp_path):
    found = []
    with Elsewhere():
        for device in ("cpu", DEVICE):
            policy = Decoder.read(folder)
            policy.model.to(device)
            metrics, lessons = update(policy)
            batch = collate(lessons, {}, device)
            out = policy.forward(batch, words("forward.logp", "forward.entropy", "forward.hidden", "forward.logits"))
            real = torch.arange(batch.tokens.shape[1], device=device) < batch.lengths[:, None]
            out["hidden"] = torch.where(real[:, :, None], out["hidden"], 0.0)  # padding holds any state
            scores = asyncio.run(policy.logp(lessons[2].tokens))
            policy.save(tmp_path)
            saved = Decoder.read(tmp_path).weights()
            kept = {name: w.cpu() for name, w in policy.weights().items()}
            policy.load_weights(kept, 7)  # from the CPU, as of a checkpoint
            found.append((metrics, {k: v.detach().cpu() for k, v in out.items()}, scores, saved, kept))
    here, there = found
    assert here[0] == pytest.approx(there[0], rel=1e-3, abs=1e-4)
    assert there[0]["optimiser_steps"] == 1
    for a, b in ((here[1], there[1]), (here[3], there[3]), (there[3], there[4])):
        assert a.keys() == b.keys()
        for name in a:
            torch.testing.assert_close(a[name], b[name], atol=2e-3, rtol=1e-3)  # Adam's first step turns on a gradient's sign
    np.testing.assert_allclose(here[2], there[2], atol=2e-3)


def moved(batch, device):
    """The batch on a device, its outputs leaves."""
    tensors = {f.name: getattr(batch, f.name).to(device) for f in fields(batch) if isinstance(getattr(batch, f.name), torch.Tensor)}
    streams = {name: x.to(device) for name, x in batch.streams.items()}
    out = {name: x.detach().to(device).requires_grad_() for name, x in batch.out.items()}
    return replace(batch, **tensors, streams=streams, out=out)


@pytest.mark.parametrize("name", sorted({*OBJECTIVES, *JOINED} - {"one_token(candidates=9)"}))  # its generator is the device's own
def test_objectives_on_another_device(name):
    made = lessons()
    batch = exact_batch(random_pairs())[0] if name in JOINED else Table(made).out(collate(made, totals_of(made)))
    found = []
    with Elsewhere():
        for device in ("cpu", DEVICE):
            own = moved(batch, device)
            loss, metrics = (JOINED | OBJECTIVES)[name](own)
            assert loss.device.type == torch.device(device).type
            grads = torch.autograd.grad(loss, list(own.out.values()), allow_unused=True)
            found.append((loss.item(), *(g.cpu() for g in grads if g is not None), {k: v.cpu() for k, v in metrics.items()}))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-3), (torch.bfloat16, 0.5)])
def test_sampling_and_learning_on_cuda(folder, dtype, near):
    """The recorded steps of several versions give the log-probabilities of a forward pass."""
    policy = Decoder.read(folder, device="cuda", dtype=dtype)
    policy.engine = Engine(policy.fused, policy.chat, max_rows=7)
    for _ in range(3):
        calls = drawn(policy.engine)
        assert isinstance(policy.engine._steps, Steps)
        for i, call in list(enumerate(calls))[:2]:
            prompt = tuple(range(1, 3 + 5 * (i % 7)))
            whole = asyncio.run(policy.logp((*prompt, *call.tokens)))
            np.testing.assert_allclose(call.logp, whole[len(prompt) :], atol=near)
        assert update(policy)[0]["optimiser_steps"] == 1
