"""The measurements behind a base model's card: python scripts/base_card.py MODEL OUT [n] writes OUT.json and OUT.md.

Held-out questions only. Per family and level: pass@1 of four samples at temperature 1, and greedy; per role the same score by
family on levels 0 to 2; how often a solvable easy task is declined; families and levels never trained on apart.
"""

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from journeyman.evals import interval_clustered
from journeyman.evaluation import Exam
from journeyman.feedback import auto
from journeyman.policies import load_policy
from journeyman.protocols import Policy
from journeyman.tasks.gym import gym
from journeyman.tasks.levels import HELD_OUT_FAMILIES, HELD_OUT_LEVELS, LEVELS
from journeyman.tasks.role_tasks import ROLES, role_tasks
from journeyman.tasks.roles import UNKNOWN
from journeyman.types import Group, Sampling

TOKENS = 600
Cell = dict[str, float | int | str]


def sit(policy: Policy, tasks: Sequence, k: int, temperature: float) -> list[Group]:
    return asyncio.run(Exam(list(tasks), auto(), k=k, sampling=Sampling(TOKENS, temperature)).sit({"policy": policy}))


def rate(per_task: Sequence[float]) -> dict[str, float]:
    found = interval_clustered(per_task)
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": len(per_task)}


def correct(group: Group) -> float:
    return sum(s == 1.0 for s in group.scores()) / len(group.attempts)


def declined(group: Group) -> float:
    return sum(a.answer is not None and UNKNOWN in a.answer.text for a in group.attempts) / len(group.attempts)


def names_the_step(group: Group) -> float | None:
    """The share of attempts that name the first wrong step of a wrong attempt; None where the attempt was right."""
    solution = group.task.solution or ""
    wrong = re.findall(r"^(\d+): .*\bwrong$", solution, re.MULTILINE)
    if not wrong:
        return None
    named = [re.findall(r"^(\d+): .*\bwrong$", a.answer.text if a.answer else "", re.MULTILINE) for a in group.attempts]
    return sum(steps == wrong for steps in named) / len(named)


def shown(x: dict[str, float]) -> str:
    return f"{100 * x['mean']:.1f} [{100 * x['low']:.1f}, {100 * x['high']:.1f}]"


def solving(policy: Policy, n: int) -> list[Cell]:
    cells = []
    for family, levels in LEVELS.items():
        for level in range(len(levels)):
            tasks = gym(family, level=level, size=4 * n if level == 0 else n, split="heldout")
            sampled, greedy = sit(policy, tasks, 4, 1.0), sit(policy, tasks, 1, 0.0)
            cell = {
                "family": family,
                "level": level,
                "trained": family not in HELD_OUT_FAMILIES and (family, level) not in HELD_OUT_LEVELS,
                "sampled": rate([correct(g) for g in sampled]),
                "greedy": rate([correct(g) for g in greedy]),
                "declined": rate([declined(g) for g in sampled]),
                "tokens": sum(a.cost.sampled_tokens for g in sampled for a in g.attempts) / (4 * len(sampled)),
            }
            cells.append(cell)
            print(family, level, "sampled", shown(cell["sampled"]), "greedy", shown(cell["greedy"]), file=sys.stderr, flush=True)
    return cells


def roles(policy: Policy, n: int) -> list[Cell]:
    rows = []
    families = [f for f in LEVELS if f not in HELD_OUT_FAMILIES]
    for role in ROLES:
        for name, levels in (("easy", (0,)), ("middle", (1, 2))):
            for family in families:
                groups = [
                    g
                    for level in levels
                    for g in sit(policy, role_tasks(gym(family, level=level, size=n, split="heldout"), role), 1, 1.0)
                ]
                row = {"role": role, "family": family, "levels": name, "per_task": [correct(g) for g in groups]}
                row["declined"] = [declined(g) for g in groups]
                if role == "verify":
                    row["named"] = [x for x in map(names_the_step, groups) if x is not None]
                rows.append(row)
            mine = [r for r in rows if r["role"] == role and r["levels"] == name]
            print(role, name, shown(rate([x for r in mine for x in r["per_task"]])), file=sys.stderr, flush=True)
    return rows


def markdown(cells: list[Cell], rows: list[Cell]) -> str:
    lines = ["| family | level | pass@1 sampled | greedy | tokens |", "|---|---|---|---|---|"]
    for c in cells:
        note = "" if c["trained"] else " (never trained on)"
        lines.append(f"| {c['family']}{note} | {c['level']} | {shown(c['sampled'])} | {shown(c['greedy'])} | {c['tokens']:.0f} |")
    lines += ["", "| role | levels | all families | worst family | best family |", "|---|---|---|---|---|"]
    for role in ROLES:
        for name in ("easy", "middle"):
            mine = [r for r in rows if r["role"] == role and r["levels"] == name]
            each = sorted((sum(r["per_task"]) / len(r["per_task"]), r["family"]) for r in mine)
            ends = [f"{family} {100 * mean:.0f}" for mean, family in (each[0], each[-1])]
            lines.append(f"| {role} | {name} | {shown(rate([x for r in mine for x in r['per_task']]))} | {ends[0]} | {ends[1]} |")
    named = {n: [x for r in rows if r["role"] == "verify" and r["levels"] == n for x in r["named"]] for n in ("easy", "middle")}
    lines += ["", f"Verify names the first wrong step of a wrong attempt: easy {shown(rate(named['easy']))}, middle "]
    lines[-1] += f"{shown(rate(named['middle']))} %."
    easy = [r for r in rows if r["role"] == "decline" and r["levels"] == "easy"]
    plain = [c["declined"]["mean"] for c in cells if c["trained"] and c["level"] == 0]
    invited = rate([x for r in easy for x in r["declined"]])
    lines.append(
        f"Declines on easy tasks: {100 * sum(plain) / len(plain):.2f} % when not invited, {shown(invited)} % when invited."
    )
    return "\n".join(lines) + "\n"


def main(model: str, out: str, n: int = 50) -> None:
    policy = load_policy(model, device="cpu")
    cells, rows = solving(policy, n), roles(policy, max(10, n // 2))
    Path(f"{out}.json").write_text(json.dumps({"model": model, "cells": cells, "roles": rows}))
    Path(f"{out}.md").write_text(markdown(cells, rows))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
