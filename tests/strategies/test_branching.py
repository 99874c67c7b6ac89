"""CURE, G2RPO, RLGF and RepExp: what their strategies draw, and from where."""

import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from journeyman.credit import group_mean, outcome, outcome_of, over_branches, summed_views
from journeyman.credit.over_branches import unfolded
from journeyman.feedback import each
from journeyman.policies import Decoder
from journeyman.recipes.reading import Reading
from journeyman.runner import use
from journeyman.strategies import after, branched, coreset, forked, guided, lots
from journeyman.strategies.prefix import cut
from journeyman.testing import ScriptedPolicy, decode
from journeyman.types import Sampling, Task, Trace, user
from tests.credit.groups import attempt_of, render
from tests.policies.conftest import byte_tokenizer
from tests.recipes.test_recipes import CONFIG
from tests.strategies.scripted import TASK, groups, said, share_of, timeless, writes

torch.set_num_threads(1)


def reads(where, **kw):
    """A reader by which the policy was unsure of the letters at these numbers (from 1), the first of them the most."""
    return ScriptedPolicy(lambda text, rng: "", value=lambda text: uncertainty(text, where), **kw)


def uncertainty(text, where):
    n = len(said(text)) if "assistant: " in text else 0
    return 1.0 / (1 + where.index(n)) if n in where else 0.0


def learned(lesson):
    """The text of the tokens that are learned."""
    return decode([t for t, on in zip(lesson.tokens, lesson.train, strict=True) if on])


# ---------------------------------------------------------------------------------------- prefixes


def test_a_prefix_is_the_trace_as_it_stood():
    trace = attempt_of(0, "abcd").traces[0]
    trace = replace(trace, start=3, sampled_tokens=4)
    found = cut(trace, 5, decode)
    assert (found.id, found.text, found.tokens, found.sampled_tokens) == (trace.id, "ab", trace.tokens[:5], 2)
    assert (found.sampled, found.logp, found.version) == (trace.sampled[:5], trace.logp[:5], trace.version[:5])
    assert cut(trace, 3, decode).text == ""
    for at in (2, 7):
        with pytest.raises(ValueError, match="expected a token it drew: 3 to 6"):
            cut(trace, at, decode)


# ---------------------------------------------------------------------------------------- CURE


def test_cure_card_candidates():
    """Entropies [2.5, .2, 1.9, .1, 1.2, .3] and top 2: the candidates are the tokens 2 and 4, for the first may not be left."""
    trace = Trace("t", tokens=tuple(range(9)), start=3)
    part = branched(None, top=2)
    assert part.candidates(trace, (9.0, 9.0, 9.0, 2.5, 0.2, 1.9, 0.1, 1.2, 0.3), lambda tokens: "word") == [3 + 2, 3 + 4]
    assert replace(part, top=9).candidates(trace, (0.0,) * 9, lambda tokens: "word") == [4, 5, 6, 7, 8]


def test_cure_leaves_no_end_no_blank_and_no_single_letter():
    texts = {0: "It", 1: " x", 2: "\n\n", 3: " two", 4: "", 5: "ab"}
    trace = Trace("t", tokens=(0, 1, 2, 3, 5, 4), start=0)
    part = branched(None)

    def decode(tokens):
        return texts[tokens[0]]

    assert part.candidates(trace, (5.0, 4.0, 3.0, 2.0, 2.5, 1.0), decode) == [4, 3]
    assert replace(part, letters=1).candidates(trace, (5.0, 4.0, 3.0, 2.0, 2.5, 1.0), decode) == [1, 4, 3]


def test_cure_card_one_group_of_16_whose_copied_prefixes_are_not_learned():
    policy = writes("abc", 5)
    part = branched(reads([3], name="reader"), top=1, letters=1)
    [group] = groups(part, {"policy": policy}, siblings=4)
    lessons = over_branches(group_mean())(group, render)
    assert len(lessons) == 4 + 4 * 3 == 16
    scores = []
    for a in group.attempts:
        first, *others = a.traces
        assert a.answer.text == first.text
        assert [c.trace for c in a.answer.candidates] == [t.id for t in a.traces]
        own = {x.attempt: x for x in lessons if x.attempt in [t.id for t in a.traces]}
        assert learned(own[first.id]) == first.text
        for t, c in zip(others, a.answer.candidates[1:], strict=True):
            assert t.parent == first.id
            assert t.start == first.start + 2, "the third letter is drawn anew"
            assert t.tokens[: t.start] == first.tokens[: t.start]
            assert own[t.id].train == (False,) * t.start + (True,) * (len(t.tokens) - t.start)
            assert learned(own[t.id]) == t.text
            assert c.text == first.text[:2] + t.text
        scores += [c.text.count("a") / 5 for c in a.answer.candidates]
    expected = np.array(scores) - np.mean(scores)
    assert [x.advantage[-1] for x in lessons] == pytest.approx(expected.tolist())
    assert np.ptp(scores) > 0


def test_cure_branches_have_the_length_that_the_answer_might_have_had():
    part = branched(reads([3], name="reader"), top=1, letters=1)
    [group] = groups(part, {"policy": writes("abc", 50)}, sampling=Sampling(8))
    first, *others = group.attempts[0].traces
    assert [len(t.tokens) - first.start for t in (first, *others)] == [8] * 4


def test_cure_without_a_place_to_leave_is_a_plain_answer():
    [group] = groups(branched(reads([], name="reader")), {"policy": writes("abc", 5)}, siblings=2)
    assert [len(a.traces) for a in group.attempts] == [1, 1], "tokens of one byte have fewer than two letters"
    assert len(over_branches(group_mean())(group, render)) == 2


def test_cure_takes_each_candidate_as_often_and_does_the_same_again():
    part = branched(reads([3, 4, 5], name="reader"), branches=1, top=3, letters=1)
    [group] = groups(part, {"policy": writes("abc", 6)}, siblings=300)
    places = Counter(a.traces[1].start - a.traces[0].start for a in group.attempts)
    assert set(places) == {2, 3, 4}
    assert min(places.values()) > 70
    [again] = groups(part, {"policy": writes("abc", 6)}, siblings=300)
    assert timeless(again.attempts) == timeless(group.attempts)


def test_cure_reading_is_charged():
    part = branched(reads([3], name="reader", parameters=7), top=1, letters=1)
    [group] = groups(part, {"policy": writes("abc", 5)})
    first, *others = group.attempts[0].traces
    drawn = sum(t.sampled_tokens for t in (first, *others))
    cost = group.attempts[0].cost
    assert cost.calls == 1 + 3 + 1
    assert cost.prompt_tokens == first.prompt_tokens + len(first.tokens)
    assert cost.compute == 10 * (first.prompt_tokens + drawn) + 7 * len(first.tokens)


def test_a_branch_that_could_not_be_checked_is_an_abstention():
    def judge(task, text):
        if "b" in text:
            raise RuntimeError("no verdict")
        return float(text[0] == "a")

    part = branched(reads([2], name="reader"), top=1, letters=1)
    [group] = groups(part, {"policy": writes("abc", 3)}, siblings=8, feedback=each(judge))
    marks = [t.marks["branch_score"] for a in group.attempts for t in a.traces]
    assert None in marks
    assert {0.0, 1.0} <= set(marks)
    assert [j.status for j in unfolded(group).judgements] == ["abstained" if m is None else "checked" for m in marks]
    assert len(over_branches(group_mean())(group, render)) == sum(m is not None for m in marks)


def test_a_reading_says_what_the_policy_was_unsure_of():
    """The entropies of the real model are those that its whole distributions have; and a text's vector is its mean state."""
    policy = Decoder.fresh(CONFIG, byte_tokenizer(), seed=0)
    part = branched(Reading(policy), letters=1, top=1)
    [group] = groups(part, {"policy": policy}, siblings=2, feedback=each(lambda task, text: float(len(text))))
    for a in group.attempts:
        first, branch, *_ = a.traces
        with torch.no_grad():
            each_logp = policy.model.logits(policy.model.hidden(torch.tensor([first.tokens])))[0].log_softmax(-1)
        entropy = [0.0, *(-(each_logp.exp() * each_logp).sum(-1))[:-1].tolist()]
        known = part.candidates(first, entropy, policy.decode)
        assert branch.start == known[0]
        assert branch.tokens[: branch.start] == first.tokens[: branch.start]


# ---------------------------------------------------------------------------------------- G2RPO


def test_g2rpo_ways_differ_by_one_draw():
    policy = Decoder.fresh(CONFIG, byte_tokenizer(), seed=0)
    part = forked((2, 4, 8), ways=40, step=1)
    tasks = [Task(q, user(q), "a") for q in "pq"]
    count = each(lambda task, text: float(sum(text.encode()) % 7))
    for group in groups(part, {"policy": policy}, feedback=count, tasks=tasks, sampling=Sampling(8)):
        [a] = group.attempts
        greedy = a.traces[0]
        drawn = [t for t in a.traces if "views" in t.marks]
        assert len(drawn) == 40
        [at] = {t.start for t in drawn}
        assert greedy.start <= at < greedy.start + 4, "in the first half"
        assert all(t.tokens[:at] == greedy.tokens[:at] and len(t.tokens) == at + 1 for t in drawn)
        whole = {t.parent: t for t in a.traces if t.parent in {d.id for d in drawn}}
        ends = {d.tokens[at]: whole[d.id].tokens if d.id in whole else d.tokens for d in drawn}
        assert len(ends) > 5
        assert all((whole[d.id].tokens if d.id in whole else d.tokens) == ends[d.tokens[at]] for d in drawn), "the rest is greedy"
        if greedy.tokens[at] in ends:
            assert ends[greedy.tokens[at]] == greedy.tokens
        for d in drawn:
            text = {n: policy.chat.decode(ends[d.tokens[at]][greedy.start : greedy.start + n]) for n in part.budgets}
            assert d.marks["views"] == {f"budget_{n}": float(sum(text[n].encode()) % 7) for n in part.budgets}
            assert d.marks["branch_score"] == d.marks["views"]["budget_8"]
        lessons = over_branches(summed_views(tuple(f"budget_{n}" for n in part.budgets)))(group, policy.render)
        assert len(lessons) == 40
        assert all(x.train == (False,) * at + (True,) for x in lessons), "only the draw is learned"


def test_g2rpo_card_views():
    """Views [1, 2, 3] and [3, 1, 2]: their normalised sum is [0, -1.2247, 1.2247]."""
    a = attempt_of(0, "x")
    traces = []
    for i, (p, q) in enumerate([(1.0, 3.0), (2.0, 1.0), (3.0, 2.0)]):
        t = replace(a.traces[0], id=f"g/0:{i}", start=3, marks={"branch_score": q, "views": {"p": p, "q": q}})
        traces.append(t)
    group = replace(groups(guided_none(), {"policy": writes("a", 1)})[0], attempts=(replace(a, traces=tuple(traces)),))
    lessons = over_branches(summed_views(("p", "q"), eps=0))(group, render)
    assert [x.advantage[-1] for x in lessons] == pytest.approx([0, -1.2247, 1.2247], abs=1e-4)


def guided_none():
    """A strategy of one plain answer."""
    return branched(reads([], name="reader"))


# ---------------------------------------------------------------------------------------- RLGF


def pair(length=4):
    return {"policy": writes("p", length), "guide": writes("g", length, name="guide")}


def test_rlgf_card_the_switch_point():
    """L = 5: h is 0 with probability .2, else uniform on 1 to 4; its mean is 2."""
    [group] = groups(guided(), pair(), siblings=1000)
    h = np.array([a.answer.text.count("g") for a in group.attempts])
    counts = np.bincount(h, minlength=5)
    assert np.abs(counts / 1000 - 0.2).max() < 0.045
    assert h.mean() == pytest.approx(2.0, abs=0.15)
    assert {a.answer.text for a in group.attempts} == {"g" * k + "p" * (4 - k) for k in range(5)}
    assert groups(guided(mixing=0.0), pair(), siblings=20)[0].attempts[0].answer.text == "pppp"


@pytest.mark.parametrize(("first", "text", "mask"), [(1.0, "ggpp", [0, 0, 1, 1, 1]), (0.0, "ppgg", [1, 1, 0, 0, 0])])
def test_rlgf_card_masks(first, text, mask):
    """L = 5, h = 2: PPO++ learns [0, 0, 1, 1, 1], AggreVaTeD [1, 1, 0, 0, 0], each from the score of the whole."""
    [group] = groups(guided(first), pair(), siblings=60, feedback=share_of("p"))
    found = [a for a in group.attempts if a.answer.text == text]
    assert found
    lessons = {x.attempt: x for x in outcome_of()(group, render)}
    for a in found:
        x = lessons[a.id]
        assert list(x.train)[-5:] == list(map(bool, mask))
        assert not any(x.train[:-5])
        assert x.policy == "policy"
        assert {v for v, on in zip(x.advantage, x.train, strict=True) if on} == {0.5}
        assert [t for t, r in enumerate(x.streams["reward"]) if r] == [max(t for t, on in enumerate(x.train) if on)]
    alone = [a.id for a in group.attempts if a.answer.text == ("gggg" if first == 0 else "pppp")]
    assert alone
    for id in alone:
        assert (id in lessons) == (first == 1.0), "an answer that is all the guide's teaches nothing"


def test_rlgf_a_guide_that_writes_nothing_is_plain_sampling():
    [group] = groups(guided(mixing=0.0), pair(), siblings=3)
    for x, y in zip(outcome_of()(group, render), outcome()(group, render), strict=True):
        assert x == y


def test_rlgf_lengths_and_costs():
    [group] = groups(guided(1.0, mixing=1.0), pair(50), siblings=20, sampling=Sampling(8))
    for a in group.attempts:
        opening, whole = a.traces
        assert len(whole.tokens) - opening.start == 8
        assert (opening.policy, whole.policy) == ("guide", "policy")
        assert a.cost.sampled_tokens == opening.sampled_tokens + whole.sampled_tokens


def test_rlgf_an_answer_of_one_token_has_no_second_part():
    [group] = groups(guided(1.0, mixing=1.0), pair(0), siblings=3)
    assert {a.answer.text for a in group.attempts} == {""}
    assert all(whole.start == opening.start for opening, whole in (a.traces for a in group.attempts))


def test_orders_of_lols_and_d2lols():
    def walk(schedule, steps):
        found = []
        for _ in range(steps):
            found.append(schedule.value())
            schedule.observe([])
        return found

    assert walk(after(3), 6) == [0, 0, 0, 1, 1, 1]
    assert walk(after(0), 2) == [1, 1]
    assert walk(lots(1.0), 9) == [1] * 9
    assert walk(lots(0.0), 9) == [0] * 9
    drawn = walk(lots(0.8, seed=1), 400)
    assert set(drawn) == {0.0, 1.0}
    assert np.mean(drawn) == pytest.approx(0.8, abs=0.06)
    assert drawn != walk(lots(0.8, seed=2), 400)
    for made in (lambda: lots(0.5), lambda: after(4)):
        whole, first, second = made(), made(), made()
        expected = walk(whole, 9)
        walk(first, 3)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert walk(second, 6) == expected[3:]


def test_guided_asks_its_schedule():
    order = after(1)
    part = guided(order, mixing=1.0)
    begins = {a.answer.text[0] for a in groups(part, pair(), siblings=5)[0].attempts}
    order.observe([])
    assert begins == {"p"}
    assert {a.answer.text[0] for a in groups(part, pair(), siblings=5)[0].attempts} == {"g"}


# ---------------------------------------------------------------------------------------- RepExp


def counting(text, rng):
    return rng.choice(["aaaa", "aaab", "bbbb", "cccc"])


def test_repexp_keeps_what_is_unlike():
    """Vectors are counts of letters: of sixteen answers of four kinds the kept are of different kinds."""
    policy = ScriptedPolicy(counting, parameters=3)
    part = coreset(ScriptedPolicy(counting, name="reader"), n=16, keep=3)
    for group in groups(part, {"policy": policy}, tasks=[Task(str(i), user(str(i)), "a") for i in range(8)]):
        kept = [c.text for c in group.attempts[0].answer.candidates]
        assert len(kept) == 3
        assert len({text[0] for text in kept}) == 3, "aaaa and aaab are nearly alike"
        assert group.attempts[0].cost.calls == 32, "vectors are charged"


def test_repexp_on_a_real_model():
    policy = Decoder.fresh(CONFIG, byte_tokenizer(), seed=0)
    [group] = groups(coreset(Reading(policy), n=6, keep=3, width=8), {"policy": policy}, siblings=1, sampling=Sampling(6))
    assert len(group.attempts[0].answer.candidates) == 3


# ---------------------------------------------------------------------------------------- errors


def test_the_impossible_is_refused():
    for make in (lambda: branched(None, branches=0), lambda: branched(None, top=0),
                 lambda: branched(None, letters=0), lambda: forked((4,), ways=1), lambda: forked(()),
                 lambda: forked((4, 4)), lambda: forked((4,), step=0), lambda: forked((4,), share=0.0),
                 lambda: guided(0.5), lambda: guided(mixing=1.5), lambda: lots(1.5), lambda: after(-1),
                 lambda: coreset(None, n=2, keep=3), lambda: coreset(None, lam=0.0)):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            make()


def test_a_guide_is_bound_by_the_runner():
    with pytest.raises(ValueError, match="run it with a Runner"):
        guided()(TASK.question, SimpleNamespace(name="policy")).send(None)
    assert guided().guide == use("guide")
