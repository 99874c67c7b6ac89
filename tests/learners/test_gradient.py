"""The update's promises: whole-step denominators, exact resume, nothing that is not finite reaches the weights."""

from dataclasses import replace

import pytest
import torch

from journeyman.batch import collate
from journeyman.learners import Gradient, cosine
from journeyman.learners.packing import micro_batches, step_parts, totals_of
from journeyman.objectives import (
    entropy_bonus,
    kl_penalty,
    mix,
    nll,
    over_behaviour,
    over_old,
    plus,
    ppo_clip,
    sequence_mean,
    surrogate,
    token_mean,
)  # fmt: skip
from journeyman.types import Lesson
from tests.learners.resuming import continued, copied
from tests.learners.tiny import Tiny, random_lessons

FULL = plus(surrogate(ppo_clip(), over_old, sequence_mean), kl_penalty(0.1), entropy_bonus(0.01))


def same(a, b, tolerance=0.0):
    assert a.weights().keys() == b.weights().keys()
    for name, w in a.weights().items():
        torch.testing.assert_close(w, b.weights()[name], rtol=0, atol=tolerance, msg=name)


def moved(policy, start):
    return any(not torch.equal(w, start[n]) for n, w in policy.weights().items())


# ------------------------------------------------------------------------------------ denominators and micro-batches


@pytest.mark.parametrize("objective", [FULL, surrogate(ppo_clip(), over_behaviour), nll(token_mean)])
def test_micro_batches_change_nothing(objective):
    lessons = random_lessons(12)
    one, many = Tiny(), Tiny()
    a = Gradient(objective, lr=0.01, micro_tokens=10**6).update(one, lessons)
    b = Gradient(objective, lr=0.01, micro_tokens=1).update(many, lessons)
    assert many.rows >= 12
    assert many.forwards > one.forwards
    same(one, many, 1e-10)
    assert a.keys() == b.keys()
    assert a == pytest.approx(b, abs=1e-9)


def test_the_first_step_is_adamw_on_the_gradient_of_the_whole():
    lessons = random_lessons(6)
    policy, other = Tiny(), Tiny()
    metrics = Gradient(surrogate(), lr=0.01, max_grad_norm=None, micro_tokens=20).update(policy, lessons)
    batch = collate(lessons, totals_of(lessons))
    loss, _ = surrogate()(batch.with_out(other.forward(batch, {"forward.logp"})))
    optimiser = torch.optim.AdamW(other.parameters(), lr=0.01, weight_decay=0.0)
    loss.backward()
    norm = torch.stack([p.grad.norm() for p in other.parameters()]).norm()
    optimiser.step()
    same(policy, other, 1e-12)
    assert metrics["loss"] == pytest.approx(loss.item(), abs=1e-12)
    assert metrics["grad_norm"] == pytest.approx(norm.item(), abs=1e-9)


def test_rows_without_signal_are_counted_and_left_out():
    lessons = random_lessons(8, zero=(0, 3, 4))
    a, b = Tiny(), Tiny()
    first = Gradient(surrogate(), lr=0.01).update(a, lessons)
    keeps = plus(surrogate(), entropy_bonus(0.0))
    Gradient(keeps, lr=0.01).update(b, lessons)
    assert (a.rows, b.rows) == (5, 8)
    same(a, b, 1e-12)
    assert (first["lessons"], first["lessons_with_signal"]) == (8, 5)
    shorter = Tiny()
    Gradient(surrogate(), lr=0.01, max_grad_norm=None).update(shorter, [x for x in lessons if x.signal])
    assert first["trained_tokens"] == sum(sum(x.train) for x in lessons if x.signal)


def test_denominators_hold_the_rows_that_were_left_out():
    lessons = random_lessons(4, zero=(1, 2))
    metrics = Gradient(surrogate(), max_grad_norm=None).update(Tiny(), lessons)
    alone = Gradient(surrogate(), max_grad_norm=None).update(Tiny(), [x for x in lessons if x.signal])
    tokens = sum(sum(x.train) for x in lessons), sum(sum(x.train) for x in lessons if x.signal)
    assert metrics["grad_norm"] * tokens[0] == pytest.approx(alone["grad_norm"] * tokens[1], rel=1e-9)


def test_no_signal_no_step():
    policy = Tiny()
    start, learner = copied(policy), Gradient(surrogate())
    metrics = learner.update(policy, random_lessons(4, zero=range(4)))
    assert (metrics["optimiser_steps"], metrics["lessons_with_signal"], metrics["skipped_steps"]) == (0, 0, 0)
    assert "loss" not in metrics
    assert learner.update(policy, [])["lessons"] == 0
    assert not moved(policy, start)
    assert policy.version == policy.forwards == 0


def test_mixed_terms_keep_the_streams_that_only_some_lessons_have():
    lessons = [*random_lessons(4), *random_lessons(4, seed=1, term="sft", behaviour=False)]
    objective = mix(rl=surrogate(ppo_clip(), over_behaviour), sft=nll())
    metrics = Gradient(objective, lr=0.01).update(Tiny(), lessons)
    assert {"rl/ratio", "sft/nll", "mismatch"} <= metrics.keys()
    with pytest.raises(ValueError, match="tagged 'sft'"):
        Gradient(mix(rl=surrogate())).update(Tiny(), lessons)


def test_updates_and_epochs_split_by_group():
    lessons, policy = random_lessons(12, siblings=3), Tiny()
    metrics = Gradient(surrogate(), updates=2, epochs=3, lr=1e-3).update(policy, lessons)
    assert metrics["optimiser_steps"] == policy.version == len(policy.stats) == 6
    parts = step_parts(lessons, 2, "seed")
    groups = [{x.group for x in p} for p in parts]
    assert not groups[0] & groups[1]
    assert sorted(x.attempt for p in parts for x in p) == sorted(x.attempt for x in lessons)
    assert step_parts(lessons, 2, "seed") == parts
    assert any(step_parts(lessons, 2, f"{i}") != parts for i in range(5))
    assert len(step_parts(lessons, 99, "seed")) == 4, "no more steps than groups"
    assert step_parts([], 2, "seed") == []


def test_pairs_stay_in_one_micro_batch():
    lessons = [replace(x, pair=f"p{i // 2}", group="") for i, x in enumerate(random_lessons(8))]
    found = micro_batches(lessons, 1)
    assert sorted(sorted(rows) for rows in found) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert all(len({x.pair for x in part}) == 1 for part in step_parts(lessons, 4, "s"))


def test_micro_batches_are_within_their_budget_and_whole():
    lessons = random_lessons(40, longest=30)
    found = micro_batches(lessons, 64)
    assert sorted(i for rows in found for i in rows) == list(range(40))
    for rows in found:
        assert len(rows) == 1 or len(rows) * max(len(lessons[i].tokens) for i in rows) <= 64


# ------------------------------------------------------------------------------------ old and reference policies


def test_old_logp_is_that_of_the_policy_before_its_first_step():
    lessons = random_lessons(6)
    policy = Tiny()
    first = Gradient(surrogate(ppo_clip(), over_old), lr=1e-3, epochs=1).update(policy, lessons)
    assert first["ratio"] == pytest.approx(1.0, abs=1e-6)
    assert first["clip_fraction"] == 0
    later = Gradient(surrogate(ppo_clip(), over_old), lr=0.3, epochs=4, max_grad_norm=None).update(Tiny(), lessons)
    assert later["clip_fraction"] > 0


def test_on_the_first_step_ppo_is_reinforce():
    lessons = random_lessons(6)
    a, b = Tiny(), Tiny()
    Gradient(surrogate(ppo_clip(), over_old), lr=1e-2).update(a, lessons)
    Gradient(surrogate(), lr=1e-2).update(b, lessons)
    same(a, b, 1e-6)


def test_the_reference_is_the_policy_at_prepare():
    policy = Tiny()
    learner = Gradient(plus(surrogate(), kl_penalty(0.1)), lr=0.05)
    learner.prepare(policy)
    kl = [learner.update(policy, random_lessons(6, seed=i))["kl"] for i in range(4)]
    assert kl[0] == pytest.approx(0.0, abs=1e-9)
    assert kl[-1] > 1e-3


def test_no_reference_is_made_unless_it_is_needed():
    class Counting(Tiny):
        made = 0

        def frozen(self):
            Counting.made += 1
            return super().frozen()

    Gradient(surrogate()).update(Counting(), random_lessons(2))
    assert Counting.made == 0
    Gradient(kl_penalty()).update(Counting(), random_lessons(2))
    assert Counting.made == 1


def test_mismatch_is_measured_before_the_first_step():
    policy, [lesson] = Tiny(), random_lessons(1)
    batch = collate([lesson], {})
    logp = policy.forward(batch, {"forward.logp"})["logp"][0].tolist()
    near = replace(lesson, behaviour_logp=tuple(x - 0.25 for x in logp))
    metrics = Gradient(surrogate(), lr=0.5, epochs=3).update(policy, [near])
    assert metrics["mismatch"] == pytest.approx(0.25, abs=1e-6)


# ------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_skips_its_step_only(bad):
    lessons = random_lessons(6)
    poisoned = [replace(x, advantage=tuple(bad if t else 0.0 for t in x.train)) for x in lessons[:2]] + lessons[2:]
    policy, learner = Tiny(), Gradient(surrogate(), lr=0.01, updates=3)
    metrics = learner.update(policy, poisoned)
    assert (metrics["skipped_steps"], metrics["optimiser_steps"]) == (1, 2)
    assert all(torch.isfinite(w).all() for w in policy.weights().values())
    assert all(torch.isfinite(t).all() for t in learner.tensors().values())
    assert metrics["loss"] == pytest.approx(metrics["loss"])
    before, steps = copied(policy), learner.steps
    alone = learner.update(policy, poisoned[:2])
    assert (alone["skipped_steps"], learner.steps) == (1, steps)
    assert not moved(policy, before)


def test_a_skipped_step_leaves_no_gradient_behind():
    """The first micro-batch is good and has been through backward when the second is found not to be finite."""
    good, later = random_lessons(1), random_lessons(2, seed=1)
    long = [replace(good[0], tokens=(1,) * 12, train=(False,) + (True,) * 11, advantage=(0.0,) + (1.0,) * 11, behaviour_logp=None)]
    bad = [replace(x, advantage=(float("nan"),) * len(x.tokens), group=long[0].group) for x in good]
    a, b = Tiny(), Tiny()
    spoiled, clean = Gradient(surrogate(), lr=0.1, micro_tokens=1), Gradient(surrogate(), lr=0.1, micro_tokens=1)
    assert spoiled.update(a, long + bad)["skipped_steps"] == 1
    assert a.forwards == 2
    spoiled.update(a, later)
    clean.update(b, later)
    same(a, b, 1e-12)


def test_gradients_are_clipped_to_their_total_norm():
    for most, expected in ((0.01, 0.01), (None, None), (1e6, None)):
        policy = Tiny()
        learner = Gradient(surrogate(), max_grad_norm=most)
        norm = learner.update(policy, random_lessons(6))["grad_norm"]
        assert norm > 0.02, "the norm before clipping"
        moments = torch.cat([v.flatten() for k, v in learner.tensors().items() if k.endswith("/exp_avg")])
        assert moments.norm().item() / 0.1 == pytest.approx(expected or norm, rel=1e-3), "exp_avg = (1 - beta1) * gradient"


def test_a_gradient_that_is_not_finite_skips_too():
    class Sharp(Tiny):
        def forward(self, batch, want):
            return {"logp": super().forward(batch, want)["logp"].abs().pow(0.5) * 0 - (self.head.bias[0] * 0).sqrt()}

    policy = Sharp()
    start = copied(policy)
    metrics = Gradient(surrogate()).update(policy, random_lessons(2))
    assert metrics["skipped_steps"] == 1
    assert not moved(policy, start)
    assert all(p.grad is None for p in policy.parameters())


def test_another_policy_is_refused():
    learner = Gradient(surrogate())
    learner.update(Tiny(), random_lessons(2))
    with pytest.raises(ValueError, match="call prepare"):
        learner.update(Tiny(), random_lessons(2))
    with pytest.raises(ValueError, match="call prepare"):
        Gradient(surrogate()).load_tensors({})


def test_settings_are_checked_at_assembly():
    numbers = {"updates": 0, "epochs": 0, "micro_tokens": 0, "replay_share": -0.1, "lr": -1.0, "max_grad_norm": -1.0}
    for wrong in [*({k: v} for k, v in numbers.items()), {"objective": ppo_clip()}, {"objective": nll}]:
        with pytest.raises(ValueError, match="expected"):
            Gradient(**({"objective": surrogate()} | wrong))
    with pytest.raises(TypeError):
        Gradient(surrogate(), learning_rate=1.0)


# ------------------------------------------------------------------------------------ resume and replay


def run(learner, policy, steps):
    return [learner.update(policy, random_lessons(6, seed=i)) for i in steps]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_resume_is_exact(dtype):
    def fresh():
        return Tiny(dtype=dtype), Gradient(FULL, lr=0.02, schedule=cosine(20, 2), updates=2, epochs=2, replay_share=0.5, seed=3)

    expected, _ = continued(fresh, lambda i: random_lessons(6, seed=i), 3, 3)
    assert expected[-1]["replayed"] == 3


def test_tensors_that_do_not_fit_are_refused():
    learner = Gradient(surrogate())
    learner.prepare(Tiny())
    with pytest.raises(ValueError, match="do not fit"):
        learner.load_tensors({"nobody/exp_avg": torch.zeros(2)})
    with pytest.raises(ValueError, match="do not fit"):
        learner.load_tensors({"head.bias/exp_avg": torch.zeros(2)})


def test_replay_draws_earlier_lessons_with_signal_and_is_bounded():
    learner = Gradient(surrogate(), lr=1e-3, replay_share=0.5, replay_size=5)
    policy = Tiny()
    first = learner.update(policy, random_lessons(6, zero=(0,)))
    assert first["replayed"] == 0
    assert len(learner.state_dict()["replay"]) == 5
    second = learner.update(policy, random_lessons(4, seed=1))
    assert second["replayed"] == 2
    held = {x["attempt"] for x in learner.state_dict()["replay"]}
    assert len(held) == 5
    assert sum(a.startswith("g1/") for a in held) == 4, "the newest are kept, replayed ones do not come in twice"


def test_replay_draws_others_each_time():
    learner, policy = Gradient(surrogate(), replay_share=0.5), Tiny()
    learner.update(policy, random_lessons(12, longest=40))
    silent = random_lessons(2, zero=(0, 1), seed=9)
    sizes = [learner.update(policy, silent)["trained_tokens"] for _ in range(8)]
    assert len(set(sizes)) > 1
    assert all(s > 0 for s in sizes)


def test_replay_changes_the_update_and_the_seed_decides_it():
    def learned(share, seed):
        policy, learner = Tiny(), Gradient(surrogate(), lr=0.05, replay_share=share, seed=seed)
        run(learner, policy, range(4))
        return policy.weights()["head.bias"]

    assert torch.equal(learned(0.5, 1), learned(0.5, 1))
    assert not torch.equal(learned(0.5, 1), learned(0.5, 2))
    assert not torch.equal(learned(0.5, 1), learned(0.0, 1))


# ------------------------------------------------------------------------------------ bfloat16


def test_small_steps_add_up_in_bfloat16():
    lesson = Lesson((0, 1), (False, True), (0.0, 1.0))
    policy, plain = Tiny(dtype=torch.bfloat16), Tiny(dtype=torch.bfloat16)
    start = copied(policy)
    learner = Gradient(nll(), lr=1e-4, max_grad_norm=None)
    rows = torch.optim.AdamW(plain.parameters(), lr=1e-4, weight_decay=0.0)
    for _ in range(60):
        learner.update(policy, [lesson])
        rows.zero_grad()
        batch = collate([lesson], totals_of([lesson]))
        nll()(batch.with_out(plain.forward(batch, {"forward.logp"})))[0].backward()
        rows.step()
    changed = [(policy.weights()[n] != start[n]).sum().item() for n in start]
    lost = [(plain.weights()[n] != start[n]).sum().item() for n in start]
    assert sum(changed) > 2 * sum(lost), "without masters most weights never move"
    masters = {k: v for k, v in learner.tensors().items() if k.endswith("/master")}
    assert all(m.dtype == torch.float32 for m in masters.values())
    for name, w in policy.weights().items():
        assert torch.equal(w, masters[f"{name}/master"].to(torch.bfloat16))


def test_masters_follow_weights_that_were_written_from_outside():
    policy, learner = Tiny(dtype=torch.bfloat16), Gradient(nll(), lr=1e-6)
    learner.update(policy, random_lessons(2))
    other = {n: torch.full_like(w, 0.5) for n, w in policy.weights().items()}
    policy.load_weights(other, 9)
    learner.update(policy, random_lessons(2))
    assert all(torch.allclose(w.float(), torch.tensor(0.5), atol=0.01) for w in policy.weights().values())
