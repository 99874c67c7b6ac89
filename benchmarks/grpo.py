"""A whole GRPO step beside TRL's GRPOTrainer, and the time both need to reach the same held-out accuracy.

    python benchmarks/grpo.py step --sizes base 25M --repeats 7 --out runs/bench_grpo_step
    python benchmarks/grpo.py accuracy --target 0.5 --out runs/bench_grpo_accuracy

Same model folder, tasks, loss, learning rate, batch (32 tasks x 8 samples) and sampling. Each library runs in a process of
its own and keeps its state; steps are taken in turn (A B C, A B C ...), so that other load on the machine falls on all.
``journeyman`` leaves rows without advantage out (a whole group right or wrong) and goes through the prompt that siblings share
once; ``journeyman_rows`` learns from all rows; ``journeyman_full`` learns from all rows and goes through each prompt with each:
beside ``trl`` it is the same update done faster. Models with random weights are never right: their rewards are drawn, as often
and as evenly in a group as the base model's (peers/lottery.py). ``trl`` is TRL with its micro-batch chosen by measurement, in
the same dtype and without gradient checkpointing; ``trl_shipped`` is TRL with its defaults, bfloat16 among them (slower at 1.4M
parameters, faster from 25M on processors with fast bfloat16 products). ``--half`` lets journeyman learn with products in
bfloat16. With ``--dtype bfloat16`` journeyman steps float32 masters of its weights, TRL the weights themselves. In ``accuracy``
the clock runs in steps only, not in exams.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from journeyman.bench import config, machine
from journeyman.policies.decoder_policy import Decoder
from journeyman.policies.folder import read_tokenizer
from journeyman.policies.load import BASE, DTYPES, pick_device
from journeyman.recipes.parts import FRONTIER

HERE = Path(__file__).parent
MICRO = (8, 16, 32, 64, 128)
LIBRARIES = ("journeyman", "journeyman_rows", "journeyman_full", "trl", "trl_shipped")
SETTINGS = {"tasks": FRONTIER, "batch": 32, "siblings": 8, "lr": 2e-4, "max_tokens": 128, "held_out": 200, "seed": 0}


class Worker:
    """One library in its own process."""

    def __init__(self, name: str, folder: Path, threads: int, settings: dict) -> None:
        self.name = name
        script = HERE / "peers" / f"grpo_{name.split('_')[0]}.py"
        command = [sys.executable, str(script), str(folder), str(threads), json.dumps(settings)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while not self.answer().get("ready"):
            pass

    def answer(self) -> dict:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("{"):  # TRL prints notices of its own
                try:
                    return json.loads(line)
                except json.JSONDecodeError:
                    continue
        raise RuntimeError(f"the worker of {self.name} ended with status {self.process.wait()}")

    def ask(self, what: str) -> dict:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": what}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def best_micro(folder: Path, threads: int, settings: dict) -> int:
    """The micro-batch with which TRL is fastest: the second step of each."""
    seconds = {}
    for micro in MICRO:
        worker = Worker("trl", folder, threads, {**settings, "micro": micro, "variant": "trl"})
        worker.ask("step")
        seconds[micro] = worker.ask("step")["seconds"]
        worker.close()
    print("micro-batches of TRL, seconds a step:", {k: round(v, 2) for k, v in seconds.items()}, flush=True)
    return min(seconds, key=seconds.__getitem__)


def workers(folder: Path, args: argparse.Namespace, settings: dict, names: list[str]) -> list[Worker]:
    threads = args.threads
    micro = args.micro or best_micro(folder, threads, settings)
    return [Worker(n, folder, threads, {**settings, "micro": micro, "variant": n}) for n in names]


def own_settings(args: argparse.Namespace) -> dict:
    return {name: getattr(args, name) for name in ("batch", "device", "dtype", "half")}


def step(folder: Path, size: str, args: argparse.Namespace) -> list[dict]:
    running = workers(folder, args, {**SETTINGS, **own_settings(args), "lottery": size != "base"}, args.libraries)
    taken: dict[str, list[dict]] = {w.name: [] for w in running}
    for turn in range(args.repeats + 1):
        for w in running:
            found = w.ask("step")
            if turn:  # the first is a warm-up
                taken[w.name].append(found)
                print(f"{size} {w.name}: {found['seconds']:.2f} s, {found['tokens']} tokens sampled", flush=True)
    for w in running:
        w.close()
    ours = statistics.median(x["seconds"] for x in taken[args.libraries[0]])
    return [
        {
            "size": size,
            "library": name,
            "seconds": statistics.median(x["seconds"] for x in found),
            "min": min(x["seconds"] for x in found),
            "max": max(x["seconds"] for x in found),
            "tokens": statistics.median(x["tokens"] for x in found),
            "theirs/ours": statistics.median(x["seconds"] for x in found) / ours,
        }
        for name, found in taken.items()
    ]


def accuracy(folder: Path, size: str, args: argparse.Namespace) -> list[dict]:
    """Each library trains until two exams in a row reach the target."""
    rows = []
    for seed in args.seeds:
        settings = {**SETTINGS, **own_settings(args), "lottery": False, "seed": seed}
        for w in workers(folder, args, settings, ["journeyman", "trl"]):
            curve = [{"seconds": 0.0, "steps": 0, **w.ask("exam")}]
            while len(curve) < 2 or min(x["accuracy"] for x in curve[-2:]) < args.target:
                spent = sum(w.ask("step")["seconds"] for _ in range(args.every))
                last = curve[-1]
                curve.append({"seconds": last["seconds"] + spent, "steps": last["steps"] + args.every, **w.ask("exam")})
                print(f"seed {seed} {w.name}: {curve[-1]}", flush=True)
                if curve[-1]["seconds"] > args.patience:
                    break
            w.close()
            reached = min(x["accuracy"] for x in curve[-2:]) >= args.target
            row = {"size": size, "seed": seed, "library": w.name, "reached": reached, **curve[-2 if reached else -1]}
            rows.append({**row, "curve": curve})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["step", "accuracy"])
    parser.add_argument("--sizes", nargs="+", default=["base"], choices=["base", "25M", "135M"])
    parser.add_argument("--batch", type=int, default=SETTINGS["batch"], help="tasks a step, of 8 samples each")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--libraries", nargs="+", default=LIBRARIES, choices=LIBRARIES, help="for step; ratios are to the first")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--every", type=int, default=5, help="steps between two exams")
    parser.add_argument("--target", type=float, default=0.5)
    parser.add_argument("--patience", type=float, default=900.0, help="seconds of training after which a run is given up")
    parser.add_argument("--micro", type=int, help="TRL's micro-batch (default: the fastest, found first)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ...")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--half", action="store_true", help="journeyman learns with products in bfloat16")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.device = str(pick_device(args.device))
    limit, rows = machine(device=args.device, dtype=DTYPES[args.dtype]), []
    setting = f"{args.dtype} on {args.device}" + (", journeyman's products in bfloat16 when it learns" if args.half else "")
    print(f"machine: {setting}, {limit}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for size in args.sizes:
            folder = BASE
            if size != "base":
                folder = Path(scratch) / size
                Decoder.fresh(config(size), read_tokenizer(BASE)).save(folder)
            rows += (step if args.what == "step" else accuracy)(folder, size, args)
    for row in rows:
        print(" ".join(f"{k}={v:.2f}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items() if k != "curve"), flush=True)
    if args.out:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip()
        found = {"commit": commit, "setting": setting, "machine": limit, "rows": rows}
        args.out.with_suffix(".json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
