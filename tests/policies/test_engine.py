"""Batched sampling: exactness, independence of company, ends, cancellation, failure."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from journeyman.policies import Decoder
from journeyman.policies.engine import Engine
from journeyman.policies.sampler import draw, invert, uniforms
from journeyman.types import Sampling, user
from tests.policies.conftest import VOCAB, small

S = Sampling(max_tokens=12)


def run(*calls):
    async def main():
        return await asyncio.gather(*calls)

    return asyncio.run(main())


def ask(policy, text, seed=0, sampling=S, id="a"):
    return policy.sample(user(text), sampling, id=id, seed=seed, role="solver")


def with_ends(policy, *ids):
    """An engine of this policy for which only ``ids`` end a sample."""
    policy.chat.ends = frozenset(ids)
    return policy


def plain_logp(policy, trace, temperature=1.0):
    """Log-probabilities of a trace's tokens by one forward pass over the whole sequence."""
    tokens = torch.tensor([trace.tokens])
    with torch.no_grad():
        each = torch.log_softmax(policy.model(tokens) / temperature, -1)
    return [0.0, *each[0, :-1].gather(1, tokens[0, 1:, None])[:, 0].tolist()]


def test_greedy_equals_transformers_generate(folder, tmp_path):
    for kind, more in (("qwen3", {}), ("llama", {"tied": False}), ("qwen2", {"num_key_value_heads": 4})):
        theirs = small(kind, **more)
        theirs.save_pretrained(tmp_path / kind)
        Decoder.read(folder).chat.tokenizer.save_pretrained(tmp_path / kind)
        policy = Decoder.read(tmp_path / kind)
        texts = ["2+2", "a longer question?", "x"]
        greedy = Sampling(max_tokens=20, temperature=0.0)
        for trace in run(*(ask(policy, t, sampling=greedy) for t in texts)):
            prompt = torch.tensor([trace.tokens[: trace.start]])
            expected = theirs.generate(
                prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=20, eos_token_id=256, pad_token_id=0
            )
            assert trace.tokens == tuple(expected[0].tolist())
            assert trace.stop_reason == ("end" if trace.tokens[-1] == 256 else "length")


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.3, 0.6), (0.0, 1.0)])
def test_sampled_logp_equals_a_fresh_forward_pass(policy, temperature, top_p):
    sampling = Sampling(max_tokens=40, temperature=temperature, top_p=top_p)
    traces = run(*(ask(policy, "q" * (1 + 7 * i), seed=i, sampling=sampling) for i in range(12)))
    for t in traces:
        expected = plain_logp(policy, t, temperature or 1.0)
        assert len(t.logp) == len(t.sampled) == len(t.version) == len(t.tokens)
        assert t.sampled == tuple(i >= t.start for i in range(len(t.tokens)))
        for drawn, found, wanted in zip(t.sampled, t.logp, expected, strict=True):
            assert found == pytest.approx(wanted if drawn else 0.0, abs=1e-4)


def test_the_same_seed_draws_the_same_tokens_in_any_company_and_order(policy):
    alone = [run(ask(policy, f"question {i % 5}", seed=i))[0].tokens for i in range(20)]
    together = run(*(ask(policy, f"question {i % 5}", seed=i) for i in reversed(range(20))))
    assert [t.tokens for t in reversed(together)] == alone
    policy.engine = Engine(policy.fused, policy.chat, max_rows=3)
    assert [t.tokens for t in run(*(ask(policy, f"question {i % 5}", seed=i) for i in range(20)))] == alone
    assert len(set(alone)) == 20


def test_two_thousand_calls_pass_through_sixty_four_rows(policy):
    with_ends(policy)
    policy.engine = Engine(policy.fused, policy.chat, max_rows=64)
    short = [Sampling(max_tokens=1 + i % 4) for i in range(2000)]
    traces = run(*(ask(policy, "n" * (i % 23), seed=i, sampling=s) for i, s in enumerate(short)))
    assert [t.sampled_tokens for t in traces] == [s.max_tokens for s in short]
    for t in traces[::97]:
        assert t.logp[-1] == pytest.approx(plain_logp(policy, t)[-1], abs=1e-4)
    assert not policy.engine.rows
    assert not policy.engine.waiting


def test_rows_of_very_different_length_are_sorted_and_stay_exact(policy, monkeypatch):
    monkeypatch.setattr("journeyman.policies.kernels.load", lambda: None)  # compiled kernels read each row's own columns only
    with_ends(policy)
    lengths = [3, 90] * 40
    sampling = [Sampling(max_tokens=36 if n == 3 else 20) for n in lengths]
    sorts = []
    move = policy.engine._reorder
    policy.engine._reorder = lambda *a: (sorts.append(a), move(*a))
    policy.engine._since_sort = 100
    traces = run(*(ask(policy, "k" * n, seed=i, sampling=s) for i, (n, s) in enumerate(zip(lengths, sampling, strict=True))))
    assert any(len(targets) == 80 for _, targets in sorts), "nothing was sorted"
    for t in traces[::9]:
        np.testing.assert_allclose(t.logp[t.start :], plain_logp(policy, t)[t.start :], atol=1e-4)


def test_draws_follow_the_softmax():
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(3)).repeat(40_000, 1) * 1.5
    u = uniforms(np.arange(40_000, dtype=np.uint64), np.full(40_000, 17))
    for temperature, top_p in ((1.0, 1.0), (0.6, 1.0), (1.0, 0.7)):
        tokens, logp = draw(logits, u, np.full(40_000, temperature), np.full(40_000, top_p))
        p = torch.softmax(logits[0] / temperature, -1).double()
        torch.testing.assert_close(logp.exp(), p[tokens].float(), atol=1e-6, rtol=1e-5)
        kept = p.clone()
        if top_p < 1:
            order = p.argsort(descending=True)
            kept[order[int((p[order].cumsum(0) < top_p).sum()) + 1 :]] = 0
        counts = np.bincount(tokens.numpy(), minlength=12)
        expected = (kept / kept.sum()).numpy() * 40_000
        assert counts[expected == 0].sum() == 0
        assert chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-3


def test_inverting_never_draws_a_token_of_no_mass():
    p = torch.zeros(4, 200)
    p[:, 70], p[:, 131] = 0.25, 0.75
    u = torch.tensor([0.0, 0.2499, 0.2501, 1 - 2.0**-22])
    assert invert(p, u).tolist() == [70, 70, 131, 131]


def test_uniforms_are_uniform_and_independent_of_neighbours():
    seeds, positions = np.arange(300, dtype=np.uint64).repeat(300), np.tile(np.arange(300), 300)
    u = uniforms(seeds, positions)
    assert chisquare(np.histogram(u, 50, (0, 1))[0]).pvalue > 1e-3
    grid = u.reshape(300, 300)
    for a, b in ((grid[1:], grid[:-1]), (grid[:, 1:], grid[:, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.02


def test_ends_stop_strings_lengths_and_context(policy):
    free = run(ask(policy, "hello", seed=5, sampling=Sampling(max_tokens=40)))[0]
    text = with_ends(policy).chat.decode(free.tokens[free.start :])
    stop = next(text[i : i + 2] for i in range(6, len(text)) if "\ufffd" not in text[i : i + 2])
    policy.engine = Engine(policy.fused, policy.chat)
    stopped = run(ask(policy, "hello", seed=5, sampling=Sampling(max_tokens=40, stop=("no such text", stop))))[0]
    assert stopped.stop_reason == "stop"
    assert stopped.text.endswith(stop)
    assert stopped.text == text[: text.index(stop) + 2]
    full = run(ask(policy, "hello", seed=5, sampling=Sampling(max_tokens=7)))[0]
    assert (full.stop_reason, full.sampled_tokens) == ("length", 7)
    edge = run(ask(policy, "h" * 110, seed=5, sampling=Sampling(max_tokens=100)))[0]
    assert (edge.stop_reason, len(edge.tokens)) == ("context", 128)


def test_the_end_token_is_in_the_tokens_and_not_in_the_text(policy):
    first = run(ask(policy, "hello", seed=5))[0]
    end = first.tokens[first.start + 4]
    assert end not in first.tokens[first.start : first.start + 4]
    with_ends(policy, end).engine = Engine(policy.fused, policy.chat)
    t = run(ask(policy, "hello", seed=5))[0]
    assert (t.stop_reason, t.sampled_tokens, t.tokens[-1]) == ("end", 5, end)
    assert t.text == policy.chat.tokenizer.decode(list(t.tokens[t.start : -1]))


def test_cancelling_frees_rows_at_once_and_the_others_finish(policy):
    with_ends(policy)
    long = Sampling(max_tokens=60)
    alone = run(*(ask(policy, f"q{i}", seed=i, sampling=long) for i in range(6)))

    async def main():
        tasks = [asyncio.create_task(ask(policy, f"q{i}", seed=i, sampling=long, id=str(i))) for i in range(6)]
        while not policy.engine.rows or policy.engine.drawn[0] < 5:  # noqa: ASYNC110
            await asyncio.sleep(0)
        for i in (0, 3, 5):
            tasks[i].cancel()
        await asyncio.sleep(0)
        held = len(policy.engine.rows)
        return held, await asyncio.gather(*tasks, return_exceptions=True)

    held, results = asyncio.run(main())
    assert held == 3
    for i, result in enumerate(results):
        if i in (0, 3, 5):
            assert isinstance(result, asyncio.CancelledError)
            prompt, drawn = policy.abandoned(str(i))
            assert prompt == alone[i].start
            assert 5 <= drawn < 60
            assert policy.abandoned(str(i)) == (0, 0)
        else:
            assert result.tokens == alone[i].tokens


def test_a_call_that_cannot_be_read_fails_alone(policy):
    async def main():
        good = ask(policy, "fine")
        bad = [ask(policy, "x" * 200), policy.engine.sample((1, VOCAB), S, 0), policy.engine.sample((), S, 0)]
        settings = [
            replace(S, **k) for k in ({"max_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"stop": "text"}, {"stop": ("",)})
        ]
        return await asyncio.gather(good, *bad, *(ask(policy, "fine", sampling=s) for s in settings), return_exceptions=True)

    first, long, outside, empty, *odd = asyncio.run(main())
    assert first.sampled_tokens > 0
    for error, message in ((long, "context holds 128"), (outside, "outside the model's vocabulary"), (empty, "empty")):
        assert isinstance(error, ValueError)
        assert message in str(error)
    assert [type(e) for e in odd] == [ValueError] * 5


def test_a_failing_step_fails_the_waiting_calls_and_the_engine_goes_on(policy):
    good = policy.fused()
    calls = iter([good, good, good])

    def flaky():
        try:
            return next(calls)
        except StopIteration:
            raise RuntimeError("the device is gone") from None

    engine = Engine(flaky, policy.chat)

    async def main():
        return await asyncio.wait_for(asyncio.gather(*(engine.sample((1, 2), S, i) for i in range(2)), return_exceptions=True), 5)

    assert [str(e) for e in asyncio.run(main())] == ["the device is gone"] * 2
    engine._weights = lambda: good
    assert len(run(engine.sample((1, 2), S, 0))[0].tokens) > 0


def test_equal_prompts_are_read_once_and_late_siblings_borrow(policy):
    with_ends(policy)
    policy.engine = Engine(policy.fused, policy.chat, max_rows=8)
    read = []
    prefill = policy.fused().prefill
    policy.fused().prefill = lambda tokens: (read.append(len(tokens)), prefill(tokens))[1]
    sizes = [Sampling(max_tokens=4 + i % 5) for i in range(30)]
    traces = run(*(ask(policy, "the same", seed=i, sampling=s) for i, s in enumerate(sizes)))
    assert sum(read) == 1
    for t in traces:
        np.testing.assert_allclose(t.logp[t.start :], plain_logp(policy, t)[t.start :], atol=1e-4)
    assert len({t.tokens for t in traces}) == 30


def test_weights_that_change_in_flight_are_used_and_recorded(policy):
    with_ends(policy)

    async def main():
        old = asyncio.create_task(ask(policy, "same", seed=1, sampling=Sampling(max_tokens=20)))
        while not policy.engine.rows or policy.engine.drawn[0] < 6:  # noqa: ASYNC110
            await asyncio.sleep(0)
        with torch.no_grad():
            for _, p in policy.trained():
                p.mul_(0.9)
        policy.after_step({})
        new = await ask(policy, "same", seed=2)
        return await old, new

    old, new = asyncio.run(main())
    versions = old.version[old.start :]
    assert versions == (0,) * 6 + (1,) * 14
    assert set(new.version[new.start :]) == {1}
    assert set(new.version[: new.start]) == {-1}
    np.testing.assert_allclose(new.logp[new.start :], plain_logp(policy, new)[new.start :], atol=1e-4)


def test_rows_are_not_copied_for_every_call_that_comes(policy):
    """Calls that come one by one, as those of searches do: the block moves when its columns run out, not at each admission."""
    with_ends(policy)
    policy.engine = Engine(policy.fused, policy.chat, max_rows=16)
    blocks, admitted, step = [None], [], policy.engine.step

    def watched():
        waiting = len(policy.engine.waiting)
        step()
        if (data := policy.engine._cache.data) is not blocks[-1]:
            blocks.append(data)
        admitted.append(waiting > len(policy.engine.waiting))

    policy.engine.step = watched
    traces = run(*(ask(policy, "n" * (i % 9), seed=i, sampling=Sampling(max_tokens=20 + 30 * (i % 13))) for i in range(80)))
    assert sum(admitted) > 40
    assert len(blocks) < 10, "the cache moved"
    for t in traces[::13]:
        np.testing.assert_allclose(t.logp[t.start :], plain_logp(policy, t)[t.start :], atol=1e-4)
