"""How fast this machine samples and learns, as a share of what its processor or GPU does at most (``journeyman bench``).

A workload is prompts as token ids, how many samples each, how many tokens a sample, and which tokens end it; the same ones
are given to other libraries in ``benchmarks/``. The machine's own limit is measured in the same run, on the same device: a
matrix product in the model's dtype and a copy of memory. Operations are those of products with weights; attention is not counted.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from journeyman.learners import Gradient
from journeyman.objectives import over_behaviour, ppo_clip, sequence_mean, surrogate
from journeyman.policies.decoder_policy import Decoder
from journeyman.policies.folder import read_tokenizer
from journeyman.policies.load import BASE, load_policy, pick_device, pick_dtype
from journeyman.types import Lesson, Sampling

SIZES: Mapping[str, Mapping[str, int]] = {
    "25M": {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8, "vocab_size": 1024},
    "135M": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "vocab_size": 49152},
}
"""Qwen3 shapes with random weights; ``base`` is the packaged model. Keys and values have a third or a half of the heads."""


LONGEST = 456
"""Tokens of the longest sample in the workloads, its prompt included."""


@dataclass(frozen=True)
class Workload:
    """``prompts`` token ids; each sampled ``siblings`` times for ``tokens`` tokens at temperature 1, or until one of ``ends``."""

    name: str
    prompts: Sequence[Sequence[int]]
    siblings: int
    tokens: int
    ends: Sequence[int] = ()


def workloads(vocab: int, *, seed: int = 0) -> dict[str, Workload]:
    """``short``: 256 prompts of 32 tokens, 64 drawn. ``siblings``: 32 prompts of 200 tokens x 8, 64 drawn. ``distinct``: the
    same with 256 different prompts, so that nothing is shared. ``mixed``: 256 prompts of 16 to 200 tokens, up to 256 drawn, one
    token in 32 ends a sample (of a model with random weights)."""
    source = random.Random(seed)

    def prompt(length: int) -> list[int]:
        return [source.randrange(4, vocab) for _ in range(length)]

    ends = list(range(4, vocab, 32))
    return {
        "short": Workload("short", [prompt(32) for _ in range(256)], 1, 64),
        "siblings": Workload("siblings", [prompt(200) for _ in range(32)], 8, 64),
        "distinct": Workload("distinct", [prompt(200) for _ in range(256)], 1, 64),
        "mixed": Workload("mixed", [prompt(source.randint(16, 200)) for _ in range(256)], 1, 256, ends),
    }


def config(size: str) -> dict[str, Any]:
    """The Qwen3 configuration of a named size."""
    shape = dict(SIZES[size])
    heads = shape["num_attention_heads"]
    return {
        "model_type": "qwen3",
        **shape,
        "num_key_value_heads": heads // 3 if heads % 3 == 0 else heads // 2,
        "head_dim": 64,
        "hidden_act": "silu",
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": True,
        "attention_bias": False,
    }


def sample(policy: Decoder, work: Workload) -> int:
    """Draw the workload; returns how many tokens were drawn."""
    policy.chat.ends = frozenset(work.ends)

    async def draw() -> int:
        calls = [
            policy.engine.sample(tuple(p), Sampling(work.tokens), 8 * i + j)
            for i, p in enumerate(work.prompts)
            for j in range(work.siblings)
        ]
        return sum(len(drawn.tokens) for drawn in await asyncio.gather(*calls))

    return asyncio.run(draw())


def wait(device: torch.device | str) -> None:
    """Until the device has done what it was given: a GPU works on while the program goes on."""
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(device)


def machine(seconds: float = 1.0, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> dict[str, float]:
    """What the device does at most: ``gflops`` of a product of matrices 2,048 wide (8,192 where there is more to fill than a
    processor), ``gbytes`` moved by a copy each second."""
    width, numbers = (2048, 1 << 26) if torch.device(device).type == "cpu" else (8192, 1 << 28)
    a, b = (torch.randn(width, width, device=device, dtype=dtype) for _ in range(2))
    x = torch.zeros(numbers, device=device)
    y = torch.empty_like(x)

    def most(work: Callable[[], object], amount: float) -> float:
        best, end = 0.0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            work()
            wait(device)
            best = max(best, amount / (time.perf_counter() - start))
        return best / 1e9

    return {
        "threads": float(torch.get_num_threads()),
        "gflops": most(lambda: torch.mm(a, b), 2 * width**3),
        "gbytes": most(lambda: y.copy_(x), 2 * 4 * x.numel()),
    }


@dataclass(frozen=True)
class Rate:
    """Tokens a second of a workload over some repeats; ``gflops`` at the median; ``saved`` is the share of prompt tokens that
    were not read again, since siblings share them (work left out, not done faster)."""

    name: str
    median: float
    low: float
    high: float
    gflops: float
    saved: float = 0.0


def lessons_of(vocab: int, rows: int = 256, prompt: int = 32, answer: int = 64) -> list[Lesson]:
    """Made-up lessons, as GRPO would draw them: groups of 8 with advantages of both signs."""
    source = random.Random(0)
    train = (False,) * prompt + (True,) * answer
    found = []
    for row in range(rows):
        tokens = tuple(source.randrange(4, vocab) for _ in train)
        sign = 1.0 if row % 2 else -1.0
        logp = tuple(-5.0 if t else 0.0 for t in train)
        found.append(Lesson(tokens, train, tuple(sign * t for t in train), behaviour_logp=logp, group=str(row // 8)))
    return found


def repeated(work: Callable[[], int], repeats: int) -> list[float]:
    """Amounts a second, after one round to warm up."""
    work()
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        amount = work()
        rates.append(amount / (time.perf_counter() - start))
    return rates


def model_of(
    policy: str = "base", repeats: int = 3, threads: int | None = None, device: str = "auto", dtype: str = "auto"
) -> Decoder:
    """The model to measure, with torch on so many threads; ValueError for what cannot be measured.

    Parameters
    ----------
    policy: Model folder, or base; 25M and 135M are Qwen3 shapes with random weights.
    repeats: Timed repetitions of each workload, after one to warm up.
    threads: Processor threads (default: torch's own number).
    device: Where to compute: cpu, cuda, cuda:1, mps, or auto for the best that is there.
    dtype: Of the weights: float32, bfloat16, float16, or auto (bfloat16 on cuda, float32 elsewhere).
    """
    for word, number in (("repeats", repeats), ("threads", threads)):
        if number is not None and number < 1:
            raise ValueError(f"{word} is {number}, expected at least 1")
    place = pick_device(device)
    if policy in SIZES:
        model = Decoder.fresh(config(policy), read_tokenizer(BASE), device=place)
        model.model.to(pick_dtype(dtype, place))
    else:
        model = load_policy(policy, device=device, dtype=dtype)
    if not isinstance(model, Decoder):
        raise ValueError(f"{policy} runs on transformers, not on journeyman's engine; write a Llama, Qwen2 or Qwen3 folder")
    if model.context < LONGEST:
        raise ValueError(f"the context of {policy} holds {model.context} tokens, but the workloads need {LONGEST}")
    if threads is not None:
        torch.set_num_threads(threads)
    return model


def setting(policy: Decoder) -> str:
    """In which dtype and on what a model computes."""
    place, where = policy.model.head.device, str(policy.model.head.device)
    if place.type == "cpu":
        where = f"{torch.get_num_threads()} threads, {'without' if policy.fused().kernels is None else 'with'} compiled kernels"
    elif place.type == "cuda":
        where = torch.cuda.get_device_name(place)
    return f"{str(policy.model.head.dtype).removeprefix('torch.')} on {where}"


def bench(policy: Decoder, repeats: int, note: Callable[[str], None]) -> tuple[dict[str, float], list[Rate]]:
    """The machine's limits, and the rates of the sampling workloads (drawn tokens) and of one update on 256 lessons (all their
    tokens)."""
    note("the machine")
    weights = policy.model.head
    limit = machine(device=weights.device, dtype=weights.dtype)
    a = policy.model.architecture
    head = a.vocab_size * a.hidden_size
    body = policy.parameters - head

    def rate(name: str, rates: Sequence[float], operations: float, saved: float = 0.0) -> Rate:
        middle = statistics.median(rates)
        return Rate(name, middle, min(rates), max(rates), operations * middle / 1e9, saved)

    found = []
    ends = policy.chat.ends
    for work in workloads(a.vocab_size).values():
        note(f"sampling, {work.name}")
        rates = repeated(lambda work=work: sample(policy, work), repeats)
        drawn, read = sample(policy, work), sum(map(len, work.prompts))
        found.append(rate(work.name, rates, 2 * body * (1 + read / drawn) + 2 * head, 1 - 1 / work.siblings))
    policy.chat.ends = ends
    note("an update")
    lessons = lessons_of(a.vocab_size)
    total, trained = sum(len(x.tokens) for x in lessons), sum(sum(x.train) for x in lessons)
    learner = Gradient(surrogate(clip=ppo_clip(0.2, 0.2), ratio=over_behaviour, reduce=sequence_mean), lr=0.0)
    learner.prepare(policy)

    def update() -> int:
        learner.update(policy, lessons)
        wait(weights.device)
        return total

    found.append(rate("update", repeated(update, repeats), 6 * (body + head * trained / total)))
    return limit, found
