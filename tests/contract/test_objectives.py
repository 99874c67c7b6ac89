"""What every objective and every factor in ``objectives.__all__`` promises."""

from dataclasses import replace

import pytest
import torch

from journeyman import objectives
from journeyman.batch import collate
from journeyman.learners.packing import micro_batches, totals_of
from journeyman.objectives import (
    fixed_length,
    k1,
    k2,
    k3,
    kl_penalty,
    mix,
    nll,
    no_clip,
    on_policy,
    over_behaviour,
    over_old,
    plus,
    ppo_clip,
    probability,
    sequence_mean,
    sequence_ratio,
    sequence_sum,
    surrogate,
    times,
    token_mean,
    truncated,
    weighted,
)  # fmt: skip
from journeyman.protocols import Part
from tests.learners.tiny import VOCAB, random_lessons
from tests.objectives.preferences import PARTS  # their promises: tests/objectives/test_preferences.py

torch.set_num_threads(1)
CLIPS = {"no_clip": no_clip, "ppo_clip": ppo_clip(0.1, 0.2, dual=1.5), "cap": objectives.cap(1.1),
         "soft_gate": objectives.soft_gate(), "implicit_negative": objectives.implicit_negative()}  # fmt: skip
RATIOS = {"on_policy": on_policy, "over_old": over_old, "over_behaviour": over_behaviour, "probability": probability,
          "sequence_ratio": sequence_ratio(), "truncated": truncated(), "times": times(over_old, truncated()),
          "demonstrated": objectives.demonstrated()}  # fmt: skip
REDUCERS = {"token_mean": token_mean, "sequence_mean": sequence_mean, "sequence_sum": sequence_sum, "fixed_length": fixed_length(9)}
CORRECTIONS = {"agreement": objectives.agreement(0.4, 0.5), "entropy_clip": objectives.entropy_clip()}
ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}
WHOLE = {
    "surrogate": surrogate(ppo_clip(), over_old, correction=truncated()),
    "nll": nll(),
    "kl_penalty": kl_penalty(),
    "importance_kl": objectives.importance_kl(),
    "entropy_bonus": objectives.entropy_bonus(),
    "drift_penalty": objectives.drift_penalty(),
    "trajectory_kl": objectives.trajectory_kl(),
    "one_token": objectives.one_token(),
    "anchor_kl": objectives.anchor_kl(),
    "value_loss": objectives.value_loss(0.5, 0.2, sequence_mean),
    "plus": plus(surrogate(ppo_clip(), over_old, sequence_mean), kl_penalty(0.04, reduce=sequence_mean)),
    "weighted": weighted(nll(), 0.5),
    "mix": mix(rl=surrogate(ppo_clip(), over_behaviour), sft=nll()),
}
OBJECTIVES = (
    WHOLE
    | {f"surrogate(clip={n})": surrogate(c, over_old) for n, c in CLIPS.items()}
    | {f"surrogate(ratio={n})": surrogate(no_clip, r) for n, r in RATIOS.items()}
    | {f"surrogate(reduce={n})": surrogate(no_clip, on_policy, r) for n, r in REDUCERS.items()}
    | {f"surrogate(correction={n})": surrogate(no_clip, over_old, correction=c) for n, c in CORRECTIONS.items()}
    | {f"kl_penalty({n})": kl_penalty(0.1, e, sequence_sum) for n, e in ESTIMATORS.items()}
    | {"one_token(candidates=9)": objectives.one_token(candidates=9)}
)
every = pytest.mark.parametrize("name", OBJECTIVES)


def lessons(seed=0, n=8):
    """Random lessons of two terms with every stream."""
    g = torch.Generator().manual_seed(seed)

    def near(x):
        return tuple(float(v) for v in -3 * torch.rand(len(x.tokens), generator=g))

    made = [*random_lessons(n // 2, seed), *random_lessons(n // 2, seed + 100, term="sft")]

    def extra(x):
        n = len(x.tokens)
        off = float(torch.rand((), generator=g) < 0.3)
        heat, mark = (2 * torch.rand(n, generator=g) - 1).tolist(), (torch.rand(n, generator=g) < 0.5).float().tolist()
        values = {"returns": near(x), "old_value": near(x)}
        return {"ref_logp": near(x), "off_policy": (off,) * n, "heat": tuple(heat), "restrained": tuple(mark)} | values

    return [replace(x, old_logp=near(x), streams=extra(x)) for x in made]


class Table:
    """Log-probabilities, entropies and other outputs (float64) that are leaves, one row a lesson."""

    def __init__(self, lessons, seed=0, scale=3.0):
        g = torch.Generator().manual_seed(seed)
        self.rows = {}
        for x in lessons:
            logp = (-scale * torch.rand(len(x.tokens), generator=g, dtype=torch.float64)).requires_grad_()
            entropy = torch.rand(len(x.tokens), generator=g, dtype=torch.float64).requires_grad_()
            worth = torch.randn(len(x.tokens), generator=g, dtype=torch.float64).requires_grad_()
            logits = torch.randn(len(x.tokens), VOCAB, generator=g, dtype=torch.float64).requires_grad_()
            anchor = torch.rand(len(x.tokens), generator=g, dtype=torch.float64).requires_grad_()
            self.rows[x.attempt] = (logp, entropy, worth, logits, anchor)

    def out(self, batch):
        def pad(which):
            own = [self.rows[x.attempt][which] for x in batch.lessons]
            full = torch.full((*batch.tokens.shape, *own[0].shape[1:]), -1.0, dtype=torch.float64)
            return torch.stack([torch.cat([row, full[i, len(row) :]]) for i, row in enumerate(own)])

        return batch.with_out({"logp": pad(0), "entropy": pad(1), "value": pad(2), "logits": pad(3), "anchor": pad(4)})

    def leaves(self):
        return [t for row in self.rows.values() for t in row]

    def gradient(self, objective, batches):
        """Loss, metrics and gradient (by row) of the sum over micro-batches."""
        found = [objective(self.out(b)) for b in batches]
        loss = torch.stack([x for x, _ in found]).sum()
        grads = torch.autograd.grad(loss, self.leaves(), allow_unused=True)
        metrics = {}
        for _, more in found:
            for k, v in more.items():
                metrics[k] = metrics.get(k, 0) + v
        return loss.item(), metrics, [torch.zeros_like(t) if g is None else g for t, g in zip(self.leaves(), grads, strict=True)]


def test_every_part_is_here():
    assert {*CLIPS, *RATIOS, *CORRECTIONS, *REDUCERS, *ESTIMATORS, *WHOLE, *PARTS} == set(objectives.__all__)


def test_every_part_declares_what_it_needs():
    for part in [
        *CLIPS.values(),
        *RATIOS.values(),
        *CORRECTIONS.values(),
        *REDUCERS.values(),
        *ESTIMATORS.values(),
        *OBJECTIVES.values(),
    ]:
        assert isinstance(part, Part)
        assert isinstance(part.needs, frozenset)


@every
def test_it_needs_what_it_reads(name):
    """Without a stream that it declares it fails; with nothing but those it works."""
    objective, made = OBJECTIVES[name], lessons()
    batch = Table(made).out(collate(made, totals_of(made)))
    declared = batch.streams.keys() & objective.needs
    objective(replace(batch, streams={k: batch.streams[k] for k in declared}))
    for word in declared:
        with pytest.raises(ValueError, match=word):
            objective(replace(batch, streams={k: v for k, v in batch.streams.items() if k != word}))
    outputs = {w.removeprefix("forward.") for w in objective.needs if w.startswith("forward.")}
    objective(replace(batch, out={k: batch.out[k] for k in outputs}))


@every
def test_tokens_that_are_not_trained_have_no_gradient(name):
    made = lessons()
    batch = collate(made, totals_of(made))
    table = Table(made)
    filled = table.out(batch)
    loss, _ = OBJECTIVES[name](filled)
    grads = [g for g in torch.autograd.grad(loss, list(filled.out.values()), allow_unused=True) if g is not None]
    for g in grads:
        assert (g[~batch.train] == 0).all()
    assert any(g[batch.train].any() for g in grads)


@every
def test_what_untrained_tokens_hold_reaches_nothing(name):
    made = lessons()
    batch = Table(made).out(collate(made, totals_of(made)))

    def spoil(tensor):
        at = batch.train if tensor.dim() == 2 else batch.train[..., None]
        return torch.where(at, tensor, float("nan"))

    spoiled = replace(
        batch, streams={k: spoil(v) for k, v in batch.streams.items()}, out={k: spoil(v) for k, v in batch.out.items()}
    )
    found = []
    for each in (spoiled, batch):
        leaves = {k: v.detach().requires_grad_() for k, v in each.out.items()}
        loss, _ = OBJECTIVES[name](each.with_out(leaves))
        grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        found.append((loss, [g for g in grads if g is not None]))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


@every
@pytest.mark.parametrize("budget", [1, 20, 60])
def test_splitting_into_micro_batches_changes_nothing(name, budget):
    made = lessons()
    totals = totals_of(made)
    whole = [collate(made, totals)]
    parts = [collate([made[i] for i in rows], totals) for rows in micro_batches(made, budget)]
    assert len(parts) > 1
    loss, metrics, grads = Table(made).gradient(OBJECTIVES[name], whole)
    split_loss, split_metrics, split_grads = Table(made).gradient(OBJECTIVES[name], parts)
    assert split_loss == pytest.approx(loss, abs=1e-10)
    for a, b in zip(grads, split_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    assert metrics.keys() == split_metrics.keys()
    for k, v in metrics.items():
        assert v.shape == (2,)
        torch.testing.assert_close(v, split_metrics[k], rtol=0, atol=1e-10)


@every
def test_the_order_of_rows_changes_nothing(name):
    made = lessons()
    a = Table(made).gradient(OBJECTIVES[name], [collate(made, totals_of(made))])
    b = Table(made).gradient(OBJECTIVES[name], [collate(made[::-1], totals_of(made))])
    assert a[0] == pytest.approx(b[0], abs=1e-10)
    for x, y in zip(a[2], b[2], strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-10)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("far", [-1e4, -60.0])
def test_extreme_ratios_stay_finite(name, dtype, far):
    made = lessons()
    batch = collate(made, totals_of(made))
    for logp, stream in ((far, -0.01), (-0.01, far)):
        theta = torch.full(batch.tokens.shape, logp, dtype=dtype, requires_grad=True)
        entropy = torch.full(batch.tokens.shape, 0.1, dtype=dtype, requires_grad=True)
        loud = replace(batch, streams={k: torch.full_like(v, stream) for k, v in batch.streams.items()})
        worth = torch.full(batch.tokens.shape, 0.5, dtype=dtype, requires_grad=True)
        logits = torch.zeros(*batch.tokens.shape, VOCAB, dtype=dtype)
        logits[..., 0] = logp
        out = {"logp": theta, "entropy": entropy, "value": worth, "logits": logits.requires_grad_()}
        out["anchor"] = torch.full(batch.tokens.shape, -logp, dtype=dtype, requires_grad=True)
        loss, metrics = OBJECTIVES[name](loud.with_out(out))
        assert torch.isfinite(loss)
        grads = torch.autograd.grad(loss, list(out.values()), allow_unused=True)
        assert all(torch.isfinite(g).all() for g in grads if g is not None)
        assert all(torch.isfinite(m).all() for m in metrics.values())


@every
def test_low_precision_log_probabilities_give_ratios_in_float32(name):
    made = lessons()
    batch = Table(made).out(collate(made, totals_of(made)))
    half = batch.with_out({k: v.detach().bfloat16() for k, v in batch.out.items()})
    wide = batch.with_out({k: v.float() for k, v in half.out.items()})
    assert OBJECTIVES[name](half)[0].item() == pytest.approx(OBJECTIVES[name](wide)[0].item(), rel=0.02, abs=0.02)


@every
def test_skips_zero_is_true(name):
    """Where an objective says that rows without signal add nothing, they add nothing."""
    objective = OBJECTIVES[name]
    made = [replace(x, advantage=(0.0,) * len(x.tokens)) for x in lessons()]
    _, _, grads = Table(made).gradient(objective, [collate(made, totals_of(made))])
    assert any(g.any() for g in grads) is not objective.skips_zero


@every
def test_weight_scales_a_lesson(name):
    made = lessons()
    twice = [replace(x, weight=2 * x.weight) for x in made]
    totals = totals_of(made)
    a = Table(made).gradient(OBJECTIVES[name], [collate(made, totals)])
    b = Table(made).gradient(OBJECTIVES[name], [collate(twice, totals)])
    assert b[0] == pytest.approx(2 * a[0], rel=1e-9)


@pytest.mark.parametrize("name", ["over_old", "over_behaviour", "sequence_ratio", "times", "truncated"])
@pytest.mark.parametrize("clip", CLIPS)
def test_on_policy_every_ratio_is_reinforce(name, clip):
    """Where old = behaviour = current, each clip and importance ratio leaves the gradient of REINFORCE."""
    made = lessons()
    batch = Table(made).out(collate(made, totals_of(made)))
    logp = batch.logp.detach().clone().requires_grad_()
    same = replace(batch, streams={k: logp.detach() for k in batch.streams}, out={**batch.out, "logp": logp})
    (a,) = torch.autograd.grad(surrogate(CLIPS[clip], RATIOS[name])(same)[0], logp)
    (b,) = torch.autograd.grad(surrogate()(same)[0], logp)
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", RATIOS)
def test_ratios_are_positive_detached_and_shaped(name):
    made = lessons()
    batch = Table(made).out(collate(made, totals_of(made)))
    ratio = RATIOS[name](batch)
    assert ratio.shape == batch.tokens.shape
    assert not ratio.requires_grad
    assert (ratio[batch.train] > 0).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_are_zero_at_the_reference(name):
    x = torch.tensor([-1.0, -5.0])
    assert ESTIMATORS[name](x, x).tolist() == [0, 0]


def test_kl_estimators_agree_in_expectation():
    """E[k1] = E[k3] = KL under the policy, exactly, on a distribution of three; k2 is close where the two are close."""
    p, q = torch.tensor([[0.5, 0.3, 0.2], [0.45, 0.33, 0.22]], dtype=torch.float64)
    kl = (p * (p / q).log()).sum().item()
    found = [(p * e(p.log(), q.log())).sum().item() for e in (k1, k2, k3)]
    assert found == pytest.approx([kl, kl, kl], rel=0.1)
    assert found[0] == pytest.approx(found[2], rel=1e-9)
