"""Sampling through a vLLM server, training here: the same policy, its tokens drawn by vLLM with weights pushed after updates.

The server is vLLM's own (``vllm serve MODEL``, Kwon et al. 2023, arXiv 2309.06180), on this machine or one that shares a
folder with it. Tokens go both ways as ids, never as text. Log-probabilities are the server's, so what its kernels compute
differently from the learner stands in the traces: the learner logs it as ``mismatch``, and ``objectives.truncated`` bounds
what it does to the update.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from safetensors.torch import load_file, save_file
from torch import Tensor

from journeyman.batch import Batch
from journeyman.policies.chat import Chat
from journeyman.policies.decoder_policy import Decoder
from journeyman.policies.engine import Drawn, check_sampling, check_tokens
from journeyman.policies.folder import read_config
from journeyman.policies.hf import HF
from journeyman.policies.token_policy import TokenPolicy
from journeyman.protocols import Words
from journeyman.types import Prompt, Sampling, Stop, Trace, user

FAR = 0.1  # nats a token between server and learner on the probe: more than bfloat16 kernels differ by
SERVE = ("--logprobs-mode", "processed_logprobs", "--no-enable-log-requests")
"""Arguments the server needs: log-probabilities under the temperature that was sampled with."""


@dataclass
class _Session:
    """What belongs to one event loop."""

    client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=None, limits=httpx.Limits()))
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    users: int = 0
    "Calls that wait or run."
    busy: int = 0
    "Calls at the server."


class Server:
    """A running vLLM server, started with VLLM_SERVER_DEV_MODE=1 and ``SERVE``: completions of token ids, and one set of
    weights at a time. Raises ValueError, in one line, where there is none at ``url``."""

    def __init__(self, url: str) -> None:
        self.url, self.loaded = url.rstrip("/"), -1
        try:
            found = httpx.get(f"{self.url}/v1/models", timeout=10).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise ValueError(f"no vLLM server answers at {url} ({type(error).__name__}); start one with vllm serve MODEL") from None
        self.model = str(found["data"][0]["id"])
        self._session: tuple[asyncio.AbstractEventLoop, _Session] | None = None

    def session(self) -> _Session:
        loop = asyncio.get_running_loop()
        if self._session is None or self._session[0] is not loop:
            self._session = loop, _Session()
        return self._session[1]

    async def post(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        reply = await self.session().client.post(f"{self.url}{path}", json=body)
        if reply.status_code == 404:
            raise ValueError(f"{self.url} has no {path}; start the server with VLLM_SERVER_DEV_MODE=1")
        if reply.is_error:
            raise RuntimeError(f"the vLLM server refused {path} with status {reply.status_code}: {reply.text[:300]}")
        return reply

    async def complete(self, weights: Weights, body: Mapping[str, object]) -> Mapping[str, Any]:
        """A completion by these weights. They are loaded first where the server holds others, once its calls have ended."""
        session = self.session()
        session.users += 1
        try:
            async with session.turn:
                if self.loaded != weights.number:
                    await self._load(weights, session)
                session.busy += 1
                session.idle.clear()
            try:
                return (await self.post("/v1/completions", {"model": self.model, **body})).json()
            finally:
                session.busy -= 1
                if not session.busy:
                    session.idle.set()
        finally:
            session.users -= 1
            if not session.users:  # connections belong to this event loop, which may end now
                self._session = None
                await session.client.aclose()

    async def _load(self, weights: Weights, session: _Session) -> None:
        while session.busy:
            await session.idle.wait()
        self.loaded = -1  # unknown until the server says that it is done
        await self.post("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(weights.folder)}})
        await self.post("/reset_prefix_cache", {})
        probe = {"model": self.model, "prompt": list(weights.probe), "max_tokens": 1, "prompt_logprobs": 0}
        weights.check((await self.post("/v1/completions", probe)).json())
        self.loaded = weights.number


class Weights:
    """One version's weights as a folder that the server can read; ``number`` tells folders apart. ``probe`` is a short text
    with the log-probabilities (L - 1) that these weights give it, to see that the server holds them."""

    made = 0

    def __init__(self, policy: Decoder | HF, version: int, shared: Path | None) -> None:
        self.folder, self.version = Path(tempfile.mkdtemp(prefix="journeyman-weights-", dir=shared)), version
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        Weights.made += 1
        self.number = Weights.made
        if isinstance(policy, Decoder):
            policy.save(self.folder, merged=True)
        else:
            policy.save(self.folder)
        untie(self.folder)
        self.probe = tuple(policy.chat.prompt(user("1 2 3 4 5 6 7 8 9"))[:32])
        self.expected = policy._score([self.probe])[0][1:]

    def check(self, reply: Mapping[str, Any]) -> None:
        """RuntimeError where the server's log-probabilities of the probe are not those of these weights."""
        given = [next(iter(x.values()))["logprob"] for x in reply["choices"][0]["prompt_logprobs"][1:]]
        off = sum(abs(a - b) for a, b in zip(given, self.expected, strict=True)) / len(given)
        if not off < FAR:
            raise RuntimeError(
                f"the vLLM server does not hold the weights it was given (log-probabilities of a probe are off by {off:.2f} "
                "nats a token); a CPU server needs an untied model: start it with journeyman.policies.vllm.serve"
            )


def untie(folder: Path) -> None:
    """Write the head of a model with tied embeddings into its files as well. Served untied, it can be replaced: vLLM on a CPU
    keeps a packed copy of a tied head that a reload does not renew."""
    path = folder / "model.safetensors"
    tensors = load_file(path) if path.exists() else {}
    embedding = tensors.get("model.embed_tokens.weight")
    if embedding is not None and "lm_head.weight" not in tensors:
        save_file({**tensors, "lm_head.weight": embedding.clone()}, path, {"format": "pt"})


class _Calls:
    """Draws by one version's weights: a ``token_policy.Sampler``. What a cancelled call had drawn is not known here and
    counts as none; its prompt counts."""

    def __init__(self, server: Server, weights: Weights, chat: Chat, vocab: int, context: int) -> None:
        self.server, self.weights, self.chat, self.vocab, self.context = server, weights, chat, vocab, context
        self.abandoned: dict[str, tuple[int, int]] = {}

    async def sample(
        self, context: tuple[int, ...], sampling: Sampling, seed: int, *, id: str = "", read: int | None = None
    ) -> Drawn:
        check_sampling(sampling)
        check_tokens(context, self.vocab, self.context)
        if sampling.top_p < 1:
            raise ValueError(
                f"top_p is {sampling.top_p}: vLLM reports log-probabilities after its nucleus and ours are before; write top_p=1"
            )
        limit = min(sampling.max_tokens, self.context - len(context))
        body = {
            "prompt": list(context),
            "max_tokens": limit,
            "temperature": sampling.temperature,
            "seed": seed % 2**63,
            "logprobs": 0,
            "return_token_ids": True,
            "stop": list(sampling.stop),
            "stop_token_ids": sorted(self.chat.ends),
            "include_stop_str_in_output": True,
            "skip_special_tokens": False,
        }
        try:
            reply = await self.server.complete(self.weights, body)
        except BaseException:
            self.abandoned[id] = (len(context) if read is None else read, 0)
            raise
        return self._drawn(reply["choices"][0], limit == sampling.max_tokens)

    def _drawn(self, choice: Mapping[str, Any], asked: bool) -> Drawn:
        tokens = tuple(choice["token_ids"])
        logp = tuple(choice["logprobs"]["token_logprobs"])
        if len(logp) != len(tokens):
            raise RuntimeError(f"the vLLM server gave {len(tokens)} tokens and {len(logp)} log-probabilities")
        reason: Stop = "length" if asked else "context"
        if choice["finish_reason"] == "stop":
            reason = "end" if tokens and tokens[-1] in self.chat.ends else "stop"
        return Drawn(tokens, logp, (self.weights.version,) * len(tokens), reason)


class _Sampled(TokenPolicy):
    """Sampling from one version: what a collection sees."""

    def __init__(self, policy: Decoder | HF, server: Server, shared: Path | None) -> None:
        self.weights = Weights(policy, policy.version, shared)
        calls = _Calls(server, self.weights, policy.chat, policy.vocab, policy.context)
        super().__init__(policy.name, policy.chat, calls, policy._logp, policy.vocab, policy.context)
        self.parameters, self.version, self.gives = policy.parameters, policy.version, policy.gives
        self._owner = policy

    async def logp(self, tokens: Sequence[int]) -> tuple[float, ...]:
        if self._owner.version != self.version:
            raise ValueError(f"the weights of version {self.version} are gone; score before the policy learns")
        return await self._owner.logp(tokens)

    def snapshot(self) -> _Sampled:
        return self


class VLLM:
    """A trainable policy whose samples a vLLM server draws. ``shared`` is a folder both can read (default: a local one)."""

    def __init__(self, policy: Decoder | HF, server: Server, shared: Path | None = None) -> None:
        self.policy, self.server, self.shared = policy, server, shared
        self.name, self.needs, self.gives, self.parameters = policy.name, policy.needs, policy.gives, policy.parameters
        self.render, self.logp, self.evaluate, self.embed = policy.render, policy.logp, policy.evaluate, policy.embed
        self._sampled: _Sampled | None = None

    @property
    def version(self) -> int:
        return self.policy.version

    def snapshot(self) -> _Sampled:
        """The weights of now, written to a folder once a version; the server reads them at the first draw."""
        if self._sampled is None or self._sampled.version != self.policy.version:
            self._sampled = _Sampled(self.policy, self.server, self.shared)
        return self._sampled

    def sample(self, prompt: Prompt, sampling: Sampling, *, id: str, seed: int, role: str) -> Awaitable[Trace]:
        """See ``TokenPolicy.sample``."""
        return self.snapshot().sample(prompt, sampling, id=id, seed=seed, role=role)

    def extend(
        self, trace: Trace, text: str, turn: Prompt, sampling: Sampling, *, id: str, seed: int, role: str
    ) -> Awaitable[Trace]:
        """See ``TokenPolicy.extend``."""
        return self.snapshot().extend(trace, text, turn, sampling, id=id, seed=seed, role=role)

    def abandoned(self, id: str) -> tuple[int, int]:
        return self.snapshot().abandoned(id)

    def forward(self, batch: Batch, want: Words) -> dict[str, Tensor]:
        return self.policy.forward(batch, want)

    def trained(self) -> Iterable[tuple[str, Tensor]]:
        return self.policy.trained()

    def frozen(self) -> Decoder | HF:
        return self.policy.frozen()

    def save(self, folder: Path) -> None:
        self.policy.save(folder)

    def weights(self) -> dict[str, Tensor]:
        return self.policy.weights()

    def load_weights(self, weights: Mapping[str, Tensor], version: int) -> None:
        self.policy.load_weights(weights, version)
        self._sampled = None

    def after_step(self, stats: Mapping[str, float]) -> None:
        self.policy.after_step(stats)


@contextmanager
def serve(
    model: Path, *, python: str = sys.executable, arguments: Sequence[str] = (), log: Path | None = None, seconds: float = 600
) -> Iterator[str]:
    """Run vLLM's server on a free port while the block runs; yields its URL. ``python`` may be that of an environment of its
    own. RuntimeError, with the end of its log, where it ends or is not ready in time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        path = log or Path(folder) / "vllm.log"
        copy = Path(folder) / "model"
        shutil.copytree(model, copy)
        untie(copy)
        (copy / "config.json").write_text(json.dumps({**read_config(copy), "tie_word_embeddings": False}))
        with path.open("wb") as out:
            place = ("--model", str(copy), "--host", "127.0.0.1", "--port", str(port))
            command = [python, "-m", "vllm.entrypoints.openai.api_server", *place, *SERVE, *arguments]
            server = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"VLLM_SERVER_DEV_MODE": "1"})
            try:
                url, end = f"http://127.0.0.1:{port}", time.monotonic() + seconds
                while not _healthy(url):
                    if server.poll() is not None or time.monotonic() > end:
                        raise RuntimeError(f"vLLM did not start (status {server.poll()}): ...{path.read_text()[-1500:]}")
                    time.sleep(0.5)
                yield url
            finally:
                server.terminate()
                try:
                    server.wait(30)
                except subprocess.TimeoutExpired:
                    server.kill()
                    server.wait()


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
