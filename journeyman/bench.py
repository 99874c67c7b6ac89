"""The engine's side of ``benchmarks/sampling.py``: workloads, model sizes, and what the machine does at most.

A workload is prompts as token ids, how many samples each, how many tokens a sample, and which tokens end it. The machine's
own limit is measured in the same run: a float32 matrix product and a copy of memory.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from journeyman.policies.decoder_policy import Decoder
from journeyman.types import Sampling

SIZES: Mapping[str, Mapping[str, int]] = {
    "25M": {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8, "vocab_size": 1024},
    "135M": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "vocab_size": 49152},
}
"""Qwen3 shapes with random weights; ``base`` is the packaged model. Keys and values have a third or a half of the heads."""


@dataclass(frozen=True)
class Workload:
    """``prompts`` token ids; each sampled ``siblings`` times for ``tokens`` tokens at temperature 1, or until one of ``ends``."""

    name: str
    prompts: Sequence[Sequence[int]]
    siblings: int
    tokens: int
    ends: Sequence[int] = ()


def workloads(vocab: int, *, seed: int = 0) -> dict[str, Workload]:
    """``short``: 256 prompts of 32 tokens, 64 drawn. ``siblings``: 32 prompts of 200 tokens x 8, 64 drawn. ``mixed``: 256
    prompts of 16 to 200 tokens, up to 256 drawn, one token in 32 ends a sample (of a model with random weights)."""
    source = random.Random(seed)

    def prompt(length: int) -> list[int]:
        return [source.randrange(4, vocab) for _ in range(length)]

    ends = list(range(4, vocab, 32))
    return {
        "short": Workload("short", [prompt(32) for _ in range(256)], 1, 64),
        "siblings": Workload("siblings", [prompt(200) for _ in range(32)], 8, 64),
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


def machine(seconds: float = 1.0) -> dict[str, float]:
    """What the processor does at most: ``gflops`` of a 2,048-wide float32 product, ``gbytes`` moved by a copy each second."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    x = torch.zeros(1 << 26)
    y = torch.empty_like(x)

    def most(work: Callable[[], object], amount: float) -> float:
        best, end = 0.0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            work()
            best = max(best, amount / (time.perf_counter() - start))
        return best / 1e9

    return {
        "threads": float(torch.get_num_threads()),
        "gflops": most(lambda: torch.mm(a, b), 2 * 2048**3),
        "gbytes": most(lambda: y.copy_(x), 2 * 4 * x.numel()),
    }
