"""A 0.6B-shaped Qwen3 with random weights takes a training step on the machine at hand: memory and seconds.

python benchmarks/half_billion.py
"""

import asyncio
import itertools
import resource
import tempfile
import time
from pathlib import Path

import torch

from journeyman.feedback import each
from journeyman.loop import train
from journeyman.policies import Decoder
from journeyman.pretrain import Recipe, train_tokenizer
from journeyman.recipes import grpo
from journeyman.testing import sums

SHAPE = Recipe(vocab=151_936, hidden=1024, intermediate=3072, layers=28, heads=16, kv_heads=8, head_dim=128, context=4096)


def main() -> None:
    tokenizer = train_tokenizer(Recipe(vocab=1024, families="chain_sum"), rows=500)
    started = time.monotonic()
    policy = Decoder.fresh(SHAPE.config() | {"eos_token_id": tokenizer.eos_token_id}, tokenizer)
    print(
        f"{policy.parameters / 1e6:.0f}M parameters, made in {time.monotonic() - started:.1f} s, {torch.get_num_threads()} threads"
    )
    started = time.monotonic()
    # Scores alternate: random weights are never right, and a policy-gradient step needs siblings that differ. GRPO trains the
    # sampled tokens themselves (most ids of this vocabulary have no text, so rewritten answers would be empty).
    coin = itertools.cycle([1.0, 0.0])
    toss = each(lambda task, answer: next(coin))
    run = grpo(policy=policy, tasks=sums(4), feedback=toss, steps=1, batch=2, siblings=2, max_tokens=16, lr=1e-5)
    seen = {}

    async def keep(run, step, groups, metrics):
        seen.update(metrics)

    run.actions.append((1, keep))
    asyncio.run(train(run))
    print(f"one step (2 tasks x 2 answers of 16 tokens, update on all weights): {time.monotonic() - started:.1f} s")
    print({k: f"{v:.4g}" for k, v in seen.items()})
    with tempfile.TemporaryDirectory() as folder:
        policy.save(Path(folder))
        print(f"saved: {sum(f.stat().st_size for f in Path(folder).iterdir()) / 1e9:.2f} GB")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
