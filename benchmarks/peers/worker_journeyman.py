"""journeyman's engine as a worker: JSON commands on standard input, one JSON answer each."""

import json
import sys
import time

import torch

from journeyman.bench import Workload, sample
from journeyman.policies.decoder_policy import Decoder


def main(folder: str, threads: int, device: str, dtype: str) -> None:
    torch.set_num_threads(threads)
    policy = Decoder.read(folder, device=device, dtype=getattr(torch, dtype))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        work = json.loads(line)
        task = Workload(work["name"], work["prompts"], work["siblings"], work["tokens"], work["ends"])
        start, drawn = time.perf_counter(), 0
        while time.perf_counter() - start < work["least"]:
            drawn += sample(policy, task)
        print(json.dumps({"tokens": drawn, "seconds": time.perf_counter() - start}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
