"""The table of a learning claim: python scripts/learning_claim.py OUT, where OUT/KIND-SEED are run folders.

The pooled row joins the seeds: each held-out task counts once, as the mean change over seeds, so the interval is clustered
by task (paired bootstrap, ``journeyman.evals.paired_difference``).
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from journeyman.evals import paired_difference


def shown(x: dict[str, float]) -> str:
    return f"{100 * x['mean']:.1f} [{100 * x['low']:.1f}, {100 * x['high']:.1f}]"


def main(out: Path) -> None:
    table = Table(box=box.SIMPLE_HEAD, title="held-out pass@1, percent, 95 % intervals")
    for column in ("run", "seed", "tasks", "before", "after", "change (paired)"):
        table.add_column(column)
    kinds: dict[str, list[dict]] = defaultdict(list)
    for folder in sorted(p for p in out.iterdir() if (p / "result.json").exists()):
        kind, _, seed = folder.name.rpartition("-")
        r = json.loads((folder / "result.json").read_text())
        kinds[kind].append(r)
        before, after = r["before"]["overall"], r["after"]["overall"]
        table.add_row(kind, seed, str(after["n_tasks"]), shown(before["pass_1"]), shown(after["pass_1"]), shown(r["change"]))
    for kind, results in kinds.items():
        tasks = sorted(set.intersection(*(set(r["after"]["tasks"]) for r in results)))
        a = [sum(r["after"]["tasks"][t] for r in results) / len(results) for t in tasks]
        b = [sum(r["before"]["tasks"][t] for r in results) / len(results) for t in tasks]
        d = paired_difference(a, b)
        change = shown({"mean": d.mean, "low": d.low, "high": d.high})
        table.add_row(
            kind,
            f"{len(results)} seeds",
            str(len(tasks)),
            f"{100 * sum(b) / len(b):.1f}",
            f"{100 * sum(a) / len(a):.1f}",
            change,
            style="bold",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
