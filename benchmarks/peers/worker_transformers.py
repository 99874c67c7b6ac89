"""transformers.generate as a worker: JSON commands on standard input, one JSON answer each. Needs torch and transformers."""

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM


def main(folder: str, threads: int, device: str, dtype: str) -> None:
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device).eval()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        work = json.loads(line)
        prompts = [p for p in work["prompts"] for _ in range(work["siblings"])]
        start, drawn = time.perf_counter(), 0
        while time.perf_counter() - start < work["least"]:
            for at in range(0, len(prompts), work["batch"]):
                drawn += generate(model, prompts[at : at + work["batch"]], work)
            if device != "cpu":
                torch.accelerator.synchronize(device)  # it works on while the program goes on
        print(json.dumps({"tokens": drawn, "seconds": time.perf_counter() - start}), flush=True)


def generate(model, prompts, work) -> int:
    wide = max(map(len, prompts))
    ids = torch.tensor([[0] * (wide - len(p)) + p for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (wide - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    ends = {"eos_token_id": work["ends"]} if work["ends"] else {"min_new_tokens": work["tokens"]}
    how = {"do_sample": True, "top_k": 0, "temperature": 1.0, "pad_token_id": 0, "max_new_tokens": work["tokens"], **ends}
    with torch.inference_mode():
        out = model.generate(ids, attention_mask=mask, **how)[:, wide:]
    if not work["ends"]:
        return out.numel()
    over = torch.isin(out, torch.tensor(work["ends"], device=out.device))
    first = torch.where(over.any(1), over.int().argmax(1) + 1, out.shape[1])
    return int(first.sum())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
