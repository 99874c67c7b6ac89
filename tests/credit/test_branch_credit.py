"""CURE, G2RPO, RLGF and duration-aware gradients: which tokens are learned, and how much."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.credit import by_duration, group_mean, group_zscore, outcome, outcome_of, over_branches, overlong, with_refinement
from journeyman.credit.over_branches import unfolded
from journeyman.credit.sampled import answering
from journeyman.curricula import learnable, uniform, with_branches
from journeyman.objectives import over_old, ppo_clip, sequence_mean, surrogate, token_mean
from journeyman.protocols import Schedule, Stateful
from journeyman.types import Answer, Attempt, Cost, Sampling, Trace
from tests.contract.test_curricula import TASKS
from tests.credit.groups import attempt_of, group_of, judged, render
from tests.objectives.batches import batch_of

PROMPT = (1, 2, 3)


def trace_of(id, text, start, *, marks=None, parent=None, policy="policy", temperature=1.0):
    """A trace of three prompt tokens and a text, of which it drew what comes from ``start`` on (in letters)."""
    tokens = PROMPT + tuple(text.encode())
    mask = (False,) * 3 + (True,) * len(text)
    return Trace(
        id, policy, text=text[start:], tokens=tokens, sampled=mask, logp=tuple(-0.1 * m for m in mask), version=(0,) * len(tokens),
        start=3 + start, parent=parent, marks=marks or {}, sampling=Sampling(temperature=temperature),
    )  # fmt: skip


def branching(i, first, *branches, policy="policy"):
    """An attempt with a first answer and branches, each (text, where it begins, score)."""
    text, _, score = first
    traces = [trace_of(f"g/{i}:0", text, 0, marks={"branch_score": score})]
    for k, (text, start, score) in enumerate(branches, 1):
        traces.append(trace_of(f"g/{i}:{k}", text, start, marks={"branch_score": score}, parent=f"g/{i}:0"))
    return Attempt(f"g/{i}", "t", Answer(traces[0].text, traces[0].id), tuple(traces))


def branched_group():
    attempts = [
        branching(0, ("abcd", 0, 1.0), ("abxy", 2, 0.0), ("abz", 2, 1.0)),
        branching(1, ("efgh", 0, 0.0), ("efgijk", 3, None), ("efgl", 3, 0.5)),
    ]
    return judged(attempts, [1.0, 0.0])


# ---------------------------------------------------------------------------------------- branches


def test_every_branch_is_a_sibling_under_the_name_of_its_trace():
    found = unfolded(branched_group())
    assert [a.id for a in found.attempts] == ["g/0:0", "g/0:1", "g/0:2", "g/1:0", "g/1:1", "g/1:2"]
    assert found.scores() == (1.0, 0.0, 1.0, 0.0, None, 0.5)
    assert found.assignment.siblings == 6
    assert [a.answer.text for a in found.attempts] == ["abcd", "xy", "z", "efgh", "ijk", "l"]
    assert unfolded(judged([attempt_of(0, "x")], [1.0])).attempts == ()


def test_a_copied_prefix_bears_no_loss():
    lessons = over_branches(group_mean())(branched_group(), render)
    masks = {x.attempt: [int(t) for t in x.train] for x in lessons}
    assert masks == {
        "g/0:0": [0, 0, 0, 1, 1, 1, 1],
        "g/0:1": [0, 0, 0, 0, 0, 1, 1],
        "g/0:2": [0, 0, 0, 0, 0, 1],
        "g/1:0": [0, 0, 0, 1, 1, 1, 1],
        "g/1:2": [0, 0, 0, 0, 0, 0, 1],
    }
    assert [x.advantage[-1] for x in lessons] == pytest.approx([0.5, -0.5, 0.5, -0.5, 0.0])
    assert all(a == 0 for x in lessons for a, t in zip(x.advantage, x.train, strict=True) if not t)


def test_the_length_penalty_counts_the_copied_prefix():
    a, b, c, *_ = unfolded(branched_group()).attempts
    shaper = overlong(4, 2)
    assert [shaper(x) for x in (a, b, c)] == [-1.0, -1.0, -0.5]


def literal_ppo(theta, old, advantages, masks, high=0.28):
    """DAPO's loss: mean over the learned tokens of all answers of the clipped gain."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for i, mask in enumerate(masks):
        for t, on in enumerate(mask):
            if on:
                ratio = (theta[i, t] - old[i][t]).exp()
                total = total - torch.minimum(ratio * advantages[i], ratio.clamp(0.8, 1 + high) * advantages[i])
                count += 1
    return total / count


def gradients(lessons, advantages, masks, seed, clip=(0.2, 0.28)):
    """The gradient of our loss on these lessons, and that of the literal one on the masks and advantages written here."""
    g = np.random.default_rng(seed)
    old = [(-2 * g.random(len(x.tokens))).tolist() for x in lessons]
    logp = [[v + 0.7 * (2 * g.random() - 1) for v in row] for row in old]
    batch, theta = batch_of(logp, [list(x.advantage) for x in lessons], [list(x.train) for x in lessons], old_logp=old)
    (found,) = torch.autograd.grad(surrogate(ppo_clip(*clip), over_old, token_mean)(batch)[0], theta)
    (expected,) = torch.autograd.grad(literal_ppo(theta, old, advantages, masks, clip[1]), theta)
    assert expected.abs().max() > 1e-3
    return found, expected


@pytest.mark.parametrize("seed", range(5))
def test_cure_has_the_gradient_of_the_papers_loss(seed):
    lessons = over_branches(group_zscore(eps=0))(branched_group(), render)
    scores = np.array([1.0, 0.0, 1.0, 0.0, 0.5])
    advantages = (scores - scores.mean()) / scores.std(ddof=1)
    masks = [[0] * (3 + b) + [1] * n for b, n in ((0, 4), (2, 2), (2, 1), (0, 4), (3, 1))]
    found, expected = gradients(lessons, advantages, masks, seed)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    for row, mask in zip(found, masks, strict=True):
        assert not row[: mask.index(1)].any(), "nothing reaches the prompt and the copied prefix"


def test_admission_sees_branches():
    attempts = [branching(i, ("ab", 0, 1.0), ("ac", 1, float(i > 0))) for i in range(2)]
    group = judged(attempts, [1.0, 1.0])
    plain, seeing = learnable(uniform(TASKS)), with_branches(learnable(uniform(TASKS)))
    assert not plain.admit(group)
    assert seeing.admit(group)
    seeing.observe([group])
    assert seeing.inner.accuracy == 0.75
    assert not seeing.admit(judged([attempt_of(0, "x"), attempt_of(1, "y")], [1.0, 0.0])), "no branches, nothing to see"


# ---------------------------------------------------------------------------------------- one policy's part


def two_parts(i, text, switch, first, second, **kw):
    """An attempt whose first letters one policy drew, though it had gone on, and whose rest another did."""
    opening = trace_of(f"g/{i}:0", text[:switch] + "longer than that", 0, policy=first)
    whole = trace_of(f"g/{i}:1", text, switch, policy=second, parent=opening.id, **kw)
    return Attempt(f"g/{i}", "t", Answer(text, whole.id), (opening, whole))


def mixed_group():
    attempts = [two_parts(0, "abcde", 2, "guide", "policy"), two_parts(1, "fghij", 2, "policy", "guide"),
                two_parts(2, "klm", 0, "policy", "guide"), two_parts(3, "nop", 0, "guide", "policy")]  # fmt: skip
    return judged(attempts, [1.0, 0.5, 1.0, 0.25])


def test_rlgf_card_masks_and_returns():
    lessons = outcome_of()(mixed_group(), render)
    assert [x.attempt for x in lessons] == ["g/0", "g/1", "g/3"], "the third is all the guide's"
    assert [list(map(int, x.train))[3:] for x in lessons] == [[0, 0, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1]]
    assert [max(x.advantage) for x in lessons] == [1.0, 0.5, 0.25]
    assert [x.streams["reward"][3:] for x in lessons] == [(0, 0, 0, 0, 1.0), (0, 0.5, 0, 0, 0), (0, 0, 0.25)]
    assert {x.policy for x in lessons} == {"policy"}
    of_guide = outcome_of("guide")(mixed_group(), render)
    assert [list(map(int, x.train))[3:] for x in of_guide] == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1]]
    assert {x.policy for x in of_guide} == {"guide"}


@pytest.mark.parametrize("seed", range(5))
def test_rlgf_has_the_gradient_of_ppo_on_its_part(seed):
    """With values of 0 and lambda 1 PPO's advantage is the return, at every token of the policy's part."""
    lessons = outcome_of()(mixed_group(), render)
    masks = [[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]
    found, expected = gradients(lessons, [1.0, 0.5, 0.25], masks, seed, (0.2, 0.2))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_of_one_policy_it_is_the_outcome():
    group = group_of([1.0, None, 0.25])
    assert outcome_of()(group, render) == outcome()(group, render)
    assert answering(group.attempts[0], "guide") == []


def test_what_has_no_tokens_or_two_temperatures_is_refused():
    text = replace(attempt_of(0, "x"), answer=Answer("x"))
    with pytest.raises(ValueError, match="no trace with token ids holds its answer"):
        outcome_of()(judged([text], [1.0]), render)
    warm = two_parts(0, "abcd", 2, "policy", "policy", temperature=0.5)
    with pytest.raises(ValueError, match="drawn by 'policy' at 2 temperatures"):
        outcome_of()(judged([warm], [1.0]), render)


# ---------------------------------------------------------------------------------------- durations


def timed(seconds, scores=None):
    group = group_of(scores or [float(i % 2) for i in range(len(seconds))], ["abcd", "ef", "ghi", "jk", "l"][: len(seconds)])
    return replace(group, attempts=tuple(replace(a, cost=Cost(seconds=s)) for a, s in zip(group.attempts, seconds, strict=True)))


def weights(part, group):
    return [x.weight for x in part(group, render)]


def test_duration_card():
    """Durations 1 and 4: weights .4 and 1.6; seen four times and once, both weigh 1.6 in all."""
    part = by_duration(group_mean())
    part.observe([timed([1.0, 4.0])])
    assert weights(part, timed([1.0, 4.0])) == pytest.approx([0.4, 1.6])
    seen = weights(part, timed([1.0, 1.0, 1.0, 1.0, 4.0]))
    assert (sum(seen[:4]), seen[4]) == pytest.approx((1.6, 1.6))
    part.observe([timed([1.0] * 4), timed([4.0])])
    assert part.value() == pytest.approx(1.6), "the mean is over the step, whichever groups"
    seen = weights(part, timed([1.0, 1.0, 1.0, 1.0, 4.0]))
    assert sum(seen[:4]) == pytest.approx(seen[4])


def test_equal_durations_change_nothing():
    group = timed([3.0] * 4)
    part = by_duration()
    part.observe([group])
    assert part(group, render) == group_zscore()(group, render)


def test_durations_are_capped_and_may_be_marked():
    part = by_duration(group_mean(), cap=10.0)
    group = timed([5.0, 1e6])
    part.observe([group])
    assert weights(part, group) == pytest.approx([5 / 7.5, 10 / 7.5])
    first, second = group.attempts
    marked = replace(first, traces=(replace(first.traces[0], marks={"seconds": 2.0}),))
    group = replace(group, attempts=(marked, second))
    part.observe([group])
    assert weights(part, group) == pytest.approx([2 / 6, 10 / 6]), "the action's own time, without what else the attempt did"


@pytest.mark.parametrize("seed", range(5))
def test_durations_have_the_gradient_of_the_papers_loss(seed):
    g = np.random.default_rng(seed)
    took, scores = (1 + 9 * g.random(4)).tolist(), [1.0, 0.0, 0.5, 0.0]
    group = timed(took, scores)
    part = by_duration(group_mean())
    part.observe([group])
    lessons = part(group, render)
    old = [(-2 * g.random(len(x.tokens))).tolist() for x in lessons]
    logp = [[v + 0.7 * (2 * g.random() - 1) for v in row] for row in old]
    batch, theta = batch_of(
        logp, [list(x.advantage) for x in lessons], [list(x.train) for x in lessons], [x.weight for x in lessons], old_logp=old
    )
    (found,) = torch.autograd.grad(surrogate(ppo_clip(0.2, 0.2), over_old, sequence_mean)(batch)[0], theta)
    total = torch.zeros((), dtype=torch.float64)
    for i, x in enumerate(lessons):
        n, a = len(x.tokens), scores[i] - np.mean(scores)
        ratio = (theta[i, 3:n] - torch.tensor(old[i], dtype=torch.float64)[3:]).exp()
        gain = torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a).mean()
        total = total - took[i] / np.mean(took) * gain / len(lessons)
    (expected,) = torch.autograd.grad(total, theta)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)  # a batch's weights are float32


def test_durations_need_the_step_and_attempts():
    part = by_duration()
    assert isinstance(part, Schedule)
    assert isinstance(part, Stateful)
    with pytest.raises(ValueError, match="call observe"):
        part(timed([1.0, 2.0]), render)
    part.observe([])
    assert part(timed([1.0, 2.0], [None, None]), render) == []
    part.observe([timed([1.0, 2.0])])
    part.load_state_dict(json.loads(json.dumps(part.state_dict())))
    with pytest.raises(ValueError, match="call observe"):
        part(timed([1.0, 2.0]), render)
    with pytest.raises(ValueError, match="expected seconds above 0"):
        by_duration(cap=0.0)
    refined = by_duration(over_branches(group_mean()))
    refined.observe([timed([1.0])])
    with pytest.raises(ValueError, match="which are no attempts"):
        refined(branched_group(), render)
    assert by_duration(with_refinement()).needs == with_refinement.needs
