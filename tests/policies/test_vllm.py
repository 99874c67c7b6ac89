"""Sampling through a real vLLM server. Needs a Python that has it: VLLM_PYTHON=path/to/python, else skipped here; what a
run found is in runs/vllm.log."""

import asyncio
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import torch

from journeyman.cli import main
from journeyman.policies import load_policy
from journeyman.policies.load import BASE
from journeyman.policies.vllm import VLLM, Server, serve
from journeyman.store import Store
from journeyman.types import Sampling, user

PYTHON = os.environ.get("VLLM_PYTHON", "")
SMALL = ("--dtype", "float32", "--max-model-len", "512", "--gpu-memory-utilization", "0.1", "--enforce-eager")


@pytest.fixture(scope="module")
def server():
    if not PYTHON:
        pytest.skip("no vLLM here: set VLLM_PYTHON=path/to/python")
    with serve(BASE, python=PYTHON, arguments=SMALL) as url:
        yield Server(url)


QUESTIONS = [user(f"Find the Greatest Common Divisor (GCD) of these numbers: {6 * n}, {4 * n + 2}.") for n in range(3, 19)]


async def answers(policy, sampling):
    calls = [policy.sample(q, sampling, id=str(i), seed=i, role="solver") for i, q in enumerate(QUESTIONS)]
    return await asyncio.gather(*calls)


def test_greedy_answers_and_log_probabilities_are_the_decoders(server):
    inner = load_policy("base", device="cpu", dtype="float32")
    policy = VLLM(inner, server)
    ours, theirs = (asyncio.run(answers(p, Sampling(60, temperature=0))) for p in (inner, policy.snapshot()))
    assert [t.tokens for t in theirs] == [t.tokens for t in ours]
    assert [t.stop_reason for t in theirs] == [t.stop_reason for t in ours]
    for sampling in (Sampling(40, temperature=1.0), Sampling(40, temperature=0.7)):
        for trace in asyncio.run(answers(policy.snapshot(), sampling)):
            batch_logp = torch.tensor(trace.logp[trace.start :])
            fresh = rescored(inner, trace, sampling.temperature)
            assert (batch_logp - fresh).abs().max() < 1e-3


def rescored(inner, trace, temperature):
    with torch.no_grad():
        logits = inner.model(torch.tensor([trace.tokens]))[0] / temperature
    logp = logits.log_softmax(-1)[:-1].gather(1, torch.tensor(trace.tokens[1:])[:, None])[:, 0]
    return logp[trace.start - 1 :]


def test_pushed_weights_are_what_is_sampled_and_an_older_version_can_come_back(server):
    inner = load_policy("base", device="cpu", dtype="float32")
    policy, greedy = VLLM(inner, server), Sampling(40, temperature=0)
    before = policy.snapshot()
    first = asyncio.run(answers(before, greedy))
    with torch.no_grad():
        for _, p in inner.trained():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    inner.after_step({})
    after = policy.snapshot()
    moved = asyncio.run(answers(after, greedy))
    assert [t.tokens for t in moved] == [t.tokens for t in asyncio.run(answers(inner, greedy))]
    assert [t.tokens for t in moved] != [t.tokens for t in first]
    assert {v for t in moved for v in t.version[t.start :]} == {1}
    again = asyncio.run(answers(before, greedy))
    assert [t.tokens for t in again] == [t.tokens for t in first]

    async def both():
        return await asyncio.gather(answers(before, greedy), answers(after, greedy))

    old, new = asyncio.run(both())
    assert [t.tokens for t in old] == [t.tokens for t in first]
    assert [t.tokens for t in new] == [t.tokens for t in moved]


def test_a_turn_is_extended_and_stop_strings_end_it(server):
    policy = VLLM(load_policy("base", device="cpu", dtype="float32"), server)

    async def talk():
        first = await policy.sample(QUESTIONS[0], Sampling(60, temperature=0, stop=("=",)), id="a", seed=0, role="solver")
        second = await policy.extend(first, "1", user("Try again."), Sampling(20, temperature=0), id="b", seed=0, role="solver")
        return first, second

    first, second = asyncio.run(talk())
    assert first.stop_reason in ("stop", "end")
    assert first.text.endswith("=") or first.stop_reason == "end"
    assert second.tokens[: len(first.tokens)] == first.tokens


# ---------------------------------------------------------------------------------- without a server


def test_a_run_is_sampled_by_the_server(server, tmp_path):
    flags = ["--vllm", server.url, "--steps", "2", "--batch", "4", "--siblings", "4", "--eval-n", "4", "--max-tokens", "96"]
    assert main(["run", "grpo", "--out", str(tmp_path / "run"), *flags, "--lr", "1e-3"]) == 0
    with Store(tmp_path / "run").open(readonly=True) as store:
        metrics = store.metrics()
    assert all(metrics[step]["sampled_tokens"] > 0 for step in (1, 2))
    assert 0 < metrics[1]["mismatch"] < 0.01  # two kernels, one model


def test_no_server_is_one_line():
    with pytest.raises(ValueError, match=r"no vLLM server answers at http://127\.0\.0\.1:9"):
        Server("http://127.0.0.1:9")


class _Fake(BaseHTTPRequestHandler):
    """Answers /v1/models only: a server that was not started for training."""

    def do_GET(self):
        self._reply(200, {"data": [{"id": "m"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self._reply(404, {})

    def _reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def test_a_server_that_takes_no_weights_says_how_to_start_it():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Fake) as fake:
        Thread(target=fake.serve_forever, daemon=True).start()
        policy = VLLM(load_policy("base", device="cpu"), Server(f"http://127.0.0.1:{fake.server_port}"))
        snapshot = policy.snapshot()
        with pytest.raises(ValueError, match="VLLM_SERVER_DEV_MODE=1"):
            asyncio.run(snapshot.sample(QUESTIONS[0], Sampling(5), id="x", seed=0, role="solver"))
        assert snapshot.abandoned("x")[0] > 0
        with pytest.raises(ValueError, match="write top_p=1"):
            asyncio.run(snapshot.sample(QUESTIONS[0], Sampling(5, top_p=0.9), id="y", seed=0, role="solver"))
        fake.shutdown()
