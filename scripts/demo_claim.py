"""What `make demo` shows, on several seeds and against its controls.

    python scripts/demo_claim.py OUT --seeds 1 2 3 --controls 1 2 3

Runs the demo's command (taken from the Makefile) for each seed, and with shuffled rewards for each control, into OUT/demo-S and
OUT/control-S (what is there already is kept), then measures each trained model on held-out questions beside the base:

    frontier     the demo's tasks, drawn anew: pass@1, change paired by task
    over maj@16  the same, beside the base's majority of 16 in place of its pass@1
    easy         the easiest level of all 17 families, 120 questions each, paired
    elsewhere    a family and levels never trained on by the base or by the demo

Writes OUT/claim.json and prints the tables.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from journeyman.evals import interval_clustered, paired_difference, summarise
from journeyman.evaluation import Exam, choose
from journeyman.feedback import auto
from journeyman.policies import load_policy
from journeyman.tasks import load_tasks
from journeyman.tasks.levels import HELD_OUT_FAMILIES, LEVELS
from journeyman.types import Group, Sampling

ROOT = Path(__file__).parent.parent
EASY = "gym:" + ",".join(f"{family}@0" for family in sorted(LEVELS) if family not in HELD_OUT_FAMILIES)
ELSEWHERE = {"number_filtering (family)": "gym:number_filtering@0", "rotate_matrix 3 (level)": "gym:rotate_matrix@3"}
TOKENS = 320


def demo_flags() -> list[str]:
    """The flags of the demo's run, as the Makefile has them."""
    line = next(x for x in (ROOT / "Makefile").read_text().splitlines() if x.startswith("DEMO :="))
    return shlex.split(line.removeprefix("DEMO :="))


def run(folder: Path, seed: int, extra: Sequence[str]) -> None:
    if (folder / "result.json").exists():
        return
    command = [sys.executable, "-m", "journeyman", "run", *demo_flags(), "--seed", str(seed), "--out", str(folder), *extra]
    with folder.with_suffix(".log").open("w") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True)


def exam(path: str, tasks: str, n: int, k: int) -> list[Group]:
    sat = Exam(choose(load_tasks(tasks, split="heldout"), n), auto(), k=k, sampling=Sampling(TOKENS))
    return asyncio.run(sat.sit({"policy": load_policy(path, device="cpu")}))


def shares(groups: Sequence[Group]) -> list[float]:
    """Share of right answers of each task."""
    return [summarise([g]).overall.pass_1.mean for g in groups]


def shown(x: dict[str, float]) -> str:
    return f"{100 * x['mean']:.1f} [{100 * x['low']:.1f}, {100 * x['high']:.1f}]"


def measured(path: str, tasks: str, base: dict[str, list[float]], majority: list[float]) -> dict:
    found = {}
    for name, (what, n, k) in exams(tasks).items():
        after = shares(exam(path, what, n, k))
        found[name] = {
            "n": len(after),
            "before": asdict(interval_clustered(base[name])),
            "after": asdict(interval_clustered(after)),
            "change": asdict(paired_difference(after, base[name])),
        }
        if name == "frontier":
            found["over maj@16"] = {
                "n": len(after),
                "before": asdict(interval_clustered(majority)),
                "after": asdict(interval_clustered(after)),
                "change": asdict(paired_difference(after, majority)),
            }
    return found


def exams(tasks: str) -> dict[str, tuple[str, int, int]]:
    """Name -> tasks, how many, attempts at each."""
    elsewhere = {name: (what, 200, 2) for name, what in ELSEWHERE.items()}
    return {"frontier": (tasks, 300, 4), "easy": (EASY, 17 * 120, 2), **elsewhere}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--controls", type=int, nargs="*", default=[1, 2, 3])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    flags = demo_flags()
    tasks = flags[flags.index("--tasks") + 1]
    for seed in args.seeds:
        run(args.out / f"demo-{seed}", seed, ())
    for seed in args.controls:
        run(args.out / f"control-{seed}", seed, ("--shuffle-rewards",))
    base = {name: shares(exam("base", what, n, k)) for name, (what, n, k) in exams(tasks).items()}
    majority = [summarise([g], 16).overall.maj_k.mean for g in exam("base", tasks, 300, 16)]
    result: dict = {"flags": flags, "runs": {}}
    table = Table("run", "questions", "n", "before", "after", "change (paired)", box=box.SIMPLE_HEAD)
    for kind, seed in [("demo", s) for s in args.seeds] + [("control", s) for s in args.controls]:
        folder = args.out / f"{kind}-{seed}"
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, "-m", "journeyman", "export", str(folder), "--what", "model", "--out", f"{scratch}/model"]
            subprocess.run(command, check=True, capture_output=True)
            found = measured(f"{scratch}/model", tasks, base, majority)
        told = json.loads((folder / "result.json").read_text())
        result["runs"][folder.name] = {**found, "training": told["training"]}
        for name, x in found.items():
            table.add_row(folder.name, name, str(x["n"]), shown(x["before"]), shown(x["after"]), shown(x["change"]))
        (args.out / "claim.json").write_text(json.dumps(result, indent=1))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
