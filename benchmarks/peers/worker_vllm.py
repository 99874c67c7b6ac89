"""vLLM's offline engine as a worker: JSON commands on standard input, one JSON answer each. Needs vllm."""

import json
import os
import sys
import time


def main(folder: str, threads: int, device: str, dtype: str) -> None:
    """On the device that this vLLM was built for; benchmarks/sampling.py asks for ``cpu`` and ``float32`` only."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
    os.environ["OMP_NUM_THREADS"] = str(threads)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what vLLM prints is no answer
    from vllm import LLM, SamplingParams

    engine = LLM(folder, dtype=dtype, max_model_len=1024, gpu_memory_utilization=0.2, max_num_seqs=256)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        work = json.loads(line)
        how = SamplingParams(
            n=work["siblings"],
            temperature=1.0,
            max_tokens=work["tokens"],
            ignore_eos=True,
            stop_token_ids=work["ends"],
            detokenize=False,
        )
        start, drawn = time.perf_counter(), 0
        while time.perf_counter() - start < work["least"]:
            engine.reset_prefix_cache()
            found = engine.generate([{"prompt_token_ids": p} for p in work["prompts"]], how, use_tqdm=False)
            drawn += sum(len(o.token_ids) for x in found for o in x.outputs)
        print(json.dumps({"tokens": drawn, "seconds": time.perf_counter() - start}), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
