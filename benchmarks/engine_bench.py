"""The decoder's engine beside transformers.generate: same random weights, 256 samples of at most 64 tokens.

    python benchmarks/engine_bench.py --threads 2 --repeats 5

Three workloads: ``unique`` (256 prompts of 48 tokens, nothing ends early), ``siblings`` (32 prompts of 48 tokens, 8 samples
each) and ``ragged`` (prompts of 16 to 80 tokens; 32 of 1,024 tokens end a sample). Prints medians in seconds and their
ratio; the two are timed in turn, so that other load on the machine falls on both. ``--cpu`` times processor seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from journeyman.policies.chat import Chat
from journeyman.policies.decoder import Architecture, CausalLM
from journeyman.policies.decoder_policy import Decoder
from journeyman.types import Sampling

ROWS, NEW, VOCAB = 256, 64, 1024


def model() -> tuple[Qwen3ForCausalLM, Decoder]:
    """1.31M parameters: hidden 128, 6 layers, 4 heads over 2 key-value heads, vocabulary 1,024."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=384,
        tie_word_embeddings=True,
        max_position_embeddings=1024,
    )
    theirs = Qwen3ForCausalLM(config).eval()
    ours = CausalLM(Architecture.of(config.to_dict()))
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if k != "lm_head.weight"})
    alphabet = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    return theirs, Decoder(ours, config.to_dict(), Chat(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")))


def workload(name: str) -> tuple[list[tuple[int, ...]], list[int]]:
    """Prompts (256) and the tokens that end a sample."""
    source = random.Random(0)

    def prompt(length: int) -> tuple[int, ...]:
        return tuple(source.randrange(VOCAB - 32) for _ in range(length))

    if name == "unique":
        return [prompt(48) for _ in range(ROWS)], []
    if name == "siblings":
        return [p for p in [prompt(48) for _ in range(ROWS // 8)] for _ in range(8)], []
    return [prompt(source.randint(16, 80)) for _ in range(ROWS)], list(range(VOCAB - 32, VOCAB))


def measure(name: str, repeats: int, clock: Callable[[], float]) -> dict[str, float | str]:
    theirs, policy = model()
    prompts, ends = workload(name)
    policy.chat.ends = frozenset(ends)
    wide = max(map(len, prompts))
    ids = torch.tensor([(0,) * (wide - len(p)) + p for p in prompts])
    mask = torch.tensor([(0,) * (wide - len(p)) + (1,) * len(p) for p in prompts])
    drawn = 0

    def engine() -> None:
        nonlocal drawn

        async def all_of_them() -> int:
            results = await asyncio.gather(*(policy.engine.sample(p, Sampling(max_tokens=NEW), i) for i, p in enumerate(prompts)))
            return sum(len(r.tokens) for r in results)

        drawn = asyncio.run(all_of_them())

    def generate() -> None:
        settings = {"eos_token_id": ends} if ends else {"min_new_tokens": NEW}
        theirs.generate(ids, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=NEW, pad_token_id=0, **settings)

    seconds: dict[str, list[float]] = {"engine": [], "generate": []}
    for _ in range(repeats + 1):
        for key, work in (("engine", engine), ("generate", generate)):
            start = clock()
            work()
            seconds[key].append(clock() - start)
    a, b = (statistics.median(seconds[k][1:]) for k in ("engine", "generate"))
    return {"workload": name, "engine_s": a, "generate_s": b, "ratio": b / a, "engine_tokens_per_s": drawn / a}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu", action="store_true", help="processor seconds instead of wall clock")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in ("unique", "siblings", "ragged"):
        print(json.dumps(measure(name, args.repeats, time.process_time if args.cpu else time.perf_counter)))


if __name__ == "__main__":
    main()
