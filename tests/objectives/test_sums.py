from dataclasses import replace

import pytest
import torch

from journeyman.batch import Totals, collate
from journeyman.objectives import entropy_bonus, kl_penalty, mix, nll, plus, surrogate, token_mean, weighted
from journeyman.objectives.sums import only
from journeyman.types import Lesson


def lesson(n, term, advantage=1.0):
    return Lesson(tuple(range(n)), (True,) * n, (advantage,) * n, term=term, group=f"{term}{n}", attempt=f"{term}{n}")


def make(lessons, logp=-1.0):
    totals = {t: Totals.of([x for x in lessons if x.term == t]) for t in {x.term for x in lessons}}
    batch = collate(lessons, totals)
    return replace(batch, out={"logp": torch.full(batch.tokens.shape, logp), "entropy": torch.full(batch.tokens.shape, 0.5)})


def test_each_term_of_a_mix_has_its_own_denominator():
    batch = make([lesson(2, "rl", 3.0), lesson(4, "sft"), lesson(6, "rl", -1.0)])
    loss, metrics = mix(rl=surrogate(), sft=weighted(nll(), 0.5))(batch)
    assert loss.item() == pytest.approx((2 * 3 - 6) / 8 + 0.5 * 4 / 4)
    assert metrics["sft/nll"].tolist() == [4, 4]
    assert metrics["rl/ratio"].tolist() == [8, 8]


def test_an_objective_without_terms_reads_every_lesson():
    batch = make([lesson(2, "rl"), lesson(4, "sft")])
    assert nll()(batch)[0].item() == pytest.approx(1.0)


def test_a_micro_batch_without_a_term_adds_nothing_for_it():
    batch = make([lesson(2, "rl", 3.0), lesson(4, "sft")])
    both = mix(rl=surrogate(), sft=nll())
    shares = [both(only(batch, [i]))[0].item() for i in range(2)]
    assert sum(shares) == pytest.approx(both(batch)[0].item())


def test_a_term_nobody_reads_is_refused():
    with pytest.raises(ValueError, match="tagged 'sft', but mix has the terms rl"):
        mix(rl=surrogate())(make([lesson(2, "sft")]))


def test_plus_adds_over_the_same_lessons():
    batch = make([lesson(2, "rl", 3.0), lesson(4, "rl", 0.0)])
    batch = replace(batch, streams={"ref_logp": torch.full((2, 4), -1.5)})
    parts = surrogate(), kl_penalty(0.04), entropy_bonus(0.1)
    loss, metrics = plus(*parts)(batch)
    assert loss.item() == pytest.approx(sum(p(batch)[0].item() for p in parts))
    assert set(metrics) == {"clip_fraction", "ratio", "kl", "entropy"}
    assert parts[2](batch)[0].item() == pytest.approx(-0.05)


def test_needs_are_the_union_and_terms_are_declared():
    both = mix(rl=plus(surrogate(), kl_penalty()), sft=nll())
    assert both.needs == {"term.rl", "term.sft", "lessons", "advantage", "forward.logp", "ref_logp"}
    assert (surrogate().skips_zero, nll().skips_zero, plus(surrogate(), kl_penalty()).skips_zero) == (True, False, False)


def test_a_batch_without_totals_is_refused():
    with pytest.raises(ValueError, match="has no totals"):
        nll(token_mean)(replace(make([lesson(2, "rl")]), totals={}))


def test_empty_sums_are_refused():
    for empty in (plus, mix):
        with pytest.raises(ValueError, match="write"):
            empty()


def test_a_weight_that_moves_is_read_at_each_call():
    class Moving:
        now = 1.0

        def observe(self, groups):
            pass

        def value(self):
            return self.now

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    weight, batch = Moving(), make([lesson(2, "rl")])
    term = weighted(nll(), weight)
    first = term(batch)[0].item()
    weight.now = 3.0
    assert term(batch)[0].item() == pytest.approx(3 * first)
