"""transformers' continuous batching as a worker: JSON commands on standard input, one JSON answer each. Needs transformers.

Siblings share their prompt (``num_return_sequences``); prefixes are not kept from one repetition to the next. Starting the manager,
with its CUDA graphs, is not timed.
"""

import json
import os
import sys
import time

import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

PAGE = 256  # tokens


def main(folder: str, threads: int, device: str, dtype: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what transformers prints is no answer
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device).eval()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        work = json.loads(line)
        calls = len(work["prompts"]) * work["siblings"]
        longest = max(map(len, work["prompts"])) + work["tokens"]
        pages = ContinuousBatchingConfig(allow_block_sharing=False, page_size=PAGE, num_blocks=calls * (1 + longest // PAGE))
        how = GenerationConfig(
            do_sample=True,
            top_k=0,
            temperature=1.0,
            max_new_tokens=work["tokens"],
            eos_token_id=work["ends"] or -1,
            num_return_sequences=work["siblings"],
        )
        with model.continuous_batching_context_manager(generation_config=how, continuous_batching_config=pages) as manager:
            start, drawn = time.perf_counter(), 0
            while time.perf_counter() - start < work["least"]:
                manager.add_requests(work["prompts"], max_new_tokens=work["tokens"])
                drawn += sum(finished(manager) for _ in range(calls))
            seconds = time.perf_counter() - start
        print(json.dumps({"tokens": drawn, "seconds": seconds}), file=answers, flush=True)


def finished(manager) -> int:
    """Tokens of the next sample that is finished."""
    while True:
        found = manager.get_result(timeout=1)
        if found is None and not manager.is_running():
            raise RuntimeError("the generation thread has ended")
        if found is not None and found.is_finished():
            if found.error:
                raise RuntimeError(found.error)
            return len(found.generated_tokens)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
