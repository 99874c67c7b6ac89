"""From the finished runs of a comparison to its numbers: one JSON document, from which tables and page are made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from journeyman.assemble import write_json
from journeyman.compare.crossed import crossed_bootstrap
from journeyman.compare.page import write_page
from journeyman.compare.plan import Entry, Plan, folder_of
from journeyman.evals import interval_clustered
from journeyman.store import Store

Result = dict[str, Any]
FEW = 5  # seeds, below which a note says how little they tell

RULE = (
    "accuracy is pass@1 on held-out tasks, the same for all; change and differences are paired by seed and task; 95 % intervals "
    "by drawing seeds and tasks anew (crossed bootstrap), wider the fewer seeds there are"
)
WINS = "share of bootstrap draws of seeds and tasks in which the row's held-out accuracy after training is above the column's"
BUDGET = (
    "spent = (prompt + sampled tokens) x parameters over all models in training, in tokens of the base model's size; "
    "evaluations are not part of it, trained tokens neither"
)


def compare_runs(plan: Plan, out: Path, failures: Mapping[tuple[str, int], str]) -> Result:
    """The numbers of a comparison whose runs have ended; writes compare.json and compare.html into ``out``."""
    runs: list[Result] = []
    done: dict[str, dict[int, Result]] = {entry.label: {} for entry in plan.entries}
    for entry, seed in plan.runs():
        reason = failures.get((entry.label, seed))
        facts = facts_of(folder_of(out, entry, seed)) if reason is None else None
        known = {"label": entry.label, "seed": seed, "failed": reason}
        if facts is not None:
            done[entry.label][seed] = facts
            known |= {k: v for k, v in facts.items() if not k.startswith("tasks_")}
            known["over_budget_tokens"] = facts["spent_tokens"] - plan.budget_tokens
        runs.append(known)
    differences = [d for a, b in combinations(plan.entries, 2) if (d := difference(done, a.label, b.label)) is not None]
    result: Result = {
        "budget_tokens": plan.budget_tokens,
        "seeds": list(range(plan.seeds)),
        "recipes": [side(entry, done[entry.label], failures) for entry in plan.entries],
        "differences": differences,
        "wins": {"rule": WINS, **wins([entry.label for entry in plan.entries], differences)},
        "runs": runs,
        "notes": notes(plan, done, failures),
        "rule": RULE,
        "budget_rule": BUDGET,
    }
    write_json(out / "compare.json", result)
    write_page(result, out / "compare.html")
    return result


def facts_of(folder: Path) -> Result:
    """What a finished run did, cost and reached. ``curve`` and ``training`` are points of (tokens spent, accuracy)."""
    result = json.loads((folder / "result.json").read_text())
    with Store(folder).open(readonly=True) as store:
        metrics = store.metrics()
    steps = [metrics[step] for step in sorted(metrics)]
    before, after = (result[side]["overall"]["pass_1"]["mean"] for side in ("before", "after"))
    spent = steps[-1]["spent_tokens"]
    during = [(m["spent_tokens"], m["eval/accuracy"]) for m in steps[:-1] if "eval/accuracy" in m]
    return {
        "before": before,
        "after": after,
        "change": result["change"],
        "steps": len(steps),
        "spent_tokens": spent,
        "prompt_tokens": total(steps, "prompt_tokens"),
        "sampled_tokens": total(steps, "sampled_tokens"),
        "trained_tokens": total(steps, "trained_tokens"),
        "seconds": total(steps, "seconds"),
        "curve": [(0.0, before), *during, (spent, after)],
        "training": [(m["spent_tokens"], m["accuracy"]) for m in steps],
        "tasks_before": result["before"]["tasks"],
        "tasks_after": result["after"]["tasks"],
    }


def total(steps: Iterable[Mapping[str, float]], name: str) -> float:
    """A metric's sum over steps, and over learners where it carries their names."""
    return sum(value for known in steps for key, value in known.items() if key == name or key.endswith(f"/{name}"))


# ---------------------------------------------------------------------------------------- sides and pairs


def table_of(runs: Iterable[Result], key: str) -> np.ndarray:
    """Shares of correct attempts, seeds x tasks, tasks in one order."""
    return np.array([[run[key][task] for task in sorted(run[key])] for run in runs])


def side(entry: Entry, done: Mapping[int, Result], failures: Mapping[tuple[str, int], str]) -> Result:
    """One recipe over its seeds."""
    failed = [{"seed": seed, "reason": reason} for (label, seed), reason in failures.items() if label == entry.label]
    known: Result = {"label": entry.label, "recipe": entry.recipe, "arguments": entry.arguments, "options": entry.options}
    known |= {"seeds": sorted(done), "failed": failed, "before": None, "after": None, "change": None}
    if not done:
        return known
    runs = list(done.values())
    before, after = table_of(runs, "tasks_before"), table_of(runs, "tasks_after")
    for name, found in (("before", before), ("after", after)):
        known[name] = plain(interval_clustered(found.mean(axis=0).tolist()))
    known["change"] = plain(crossed_bootstrap((after - before).tolist()))
    for name in ("spent_tokens", "prompt_tokens", "sampled_tokens", "trained_tokens", "seconds", "steps"):
        known[name] = sum(run[name] for run in runs) / len(runs)
    return known


def difference(done: Mapping[str, Mapping[int, Result]], a: str, b: str) -> Result | None:
    """a - b in accuracy after training, over the seeds that both finished; None where there is none."""
    seeds = sorted(done[a].keys() & done[b].keys())
    if not seeds:
        return None
    left, right = (table_of((done[label][seed] for seed in seeds), "tasks_after") for label in (a, b))
    return {"a": a, "b": b, "seeds": seeds, **plain(crossed_bootstrap((left - right).tolist()), "wins")}


def plain(estimate: Any, *more: str) -> Result:
    return {name: getattr(estimate, name) for name in ("mean", "low", "high", *more)}


def wins(labels: list[str], differences: Iterable[Result]) -> Result:
    """The square of shares in which a row beats a column; None on the diagonal and where no seed was finished by both."""
    square: list[list[float | None]] = [[None] * len(labels) for _ in labels]
    for found in differences:
        i, j = labels.index(found["a"]), labels.index(found["b"])
        square[i][j], square[j][i] = found["wins"], 1 - found["wins"]
    return {"labels": labels, "share": square}


def notes(plan: Plan, done: Mapping[str, Mapping[int, Result]], failures: Mapping[tuple[str, int], str]) -> list[str]:
    """What a reader must know to read the numbers."""
    found = []
    if plan.seeds == 1:
        found.append("one seed: the intervals are for other tasks and say nothing of other seeds")
    elif plan.seeds < FEW:
        found.append(
            f"{plan.seeds} seeds tell little of others: intervals are wide for it, and still rough; {FEW} or more are better"
        )
    over = {}
    for entry in plan.entries:
        label, runs = entry.label, done[entry.label]
        spent = [run["spent_tokens"] / plan.budget_tokens for run in runs.values()]
        if spent and max(spent) == 0:
            found.append(
                f"{label} samples nothing in training: it ended after its own number of steps, with none of the budget spent"
            )
        elif spent and max(spent) > 1.1:
            over[label] = f"{max(spent):.2f}"
        if spent and max(spent) > 0 and "steps" in entry.arguments:
            found.append(f"{label}: --steps sets at most a schedule of its parts; the budget ends its runs")
    if over:
        most = ", ".join(f"{label} {times}" for label, times in over.items())
        found.append(f"more than 1.1 budgets were spent, for a step is large beside the budget: {most}")
    found += [f"{label} seed {seed} failed and is left out of that seed's pairs: {why}" for (label, seed), why in failures.items()]
    return found
