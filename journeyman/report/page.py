"""The report's page: facts and figures in one HTML file that loads nothing from anywhere."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import secrets
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from journeyman.loggers import extra
from journeyman.report.browse import in_script
from journeyman.report.change import direction
from journeyman.report.facts import Facts, gather
from journeyman.report.figures import figures
from journeyman.report.words import count, duration, pct

HERE = files("journeyman.report") / "page"
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def write_report(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write a run's report to ``out`` (FOLDER/report.html) and return its path. The run may be complete, killed or going
    on. ValueError in one line where the folder holds no run."""
    facts = gather(folder)
    path = Path(out) if out is not None else facts.folder / "report.html"
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(render(facts), encoding="utf-8", errors="replace")
    scratch.replace(path)  # whole or not at all
    return path


def render(facts: Facts, version: str = "", whole: bool = True, state: str = "") -> str:
    """The page as HTML. ``version`` (of the run folder) makes it a live page that asks its server for newer ones, which
    come without scripts and styles where ``whole`` is false. ``state`` is then what has become of the run: "running",
    "ended" or "stopped"."""
    loader = PackageLoader("journeyman.report", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, finalize=seen)
    environment.filters |= {"pct": pct, "points": points, "count": count, "duration": duration, "shown": shown}
    drawn = figures(facts)
    data = {
        "figures": {f["id"]: {"data": f["data"], "layout": f["layout"]} for f in drawn},
        "attempts": facts.attempts,
        "version": version,
        "state": state,
    }
    page: dict[str, Any] = {"facts": facts, "figures": drawn, "data": in_script(data), "nonce": secrets.token_urlsafe(16)}
    page |= {"whole": whole, "live": bool(version), "state": state, "headline": in_script(headline(facts)), "title": title(facts)}
    page |= {
        "verdict": verdict(facts),
        "tiles": tiles(facts, state == "running"),
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    if whole:
        texts = {name: (HERE / name).read_text(encoding="utf-8") for name in ("style.css", "page.js")}
        page |= {
            "style": Markup(texts["style.css"]),
            "script": Markup(texts["page.js"]),
            "plotly": Markup(plotly()),
        }  # our own files
    return environment.get_template("report.html").render(page)


@lru_cache(maxsize=1)
def plotly() -> str:
    """plotly.js, compressed: 2 MB of base64 in place of 4.8 MB of script. The browser unpacks it."""
    source = extra("plotly.offline", "report", "the report").get_plotlyjs()
    return base64.b64encode(gzip.compress(source.encode(), 9, mtime=0)).decode("ascii")


def headline(facts: Facts) -> dict[str, Any]:
    """The numbers that count, for programs that read the page."""
    before, after = (x and {k: x["overall"][k] for k in ("pass_1", "pass_k", "maj_k")} for x in (facts.before, facts.after))
    k = facts.before["k"] if facts.before else None
    return {"recipe": facts.record["recipe"], "k": k, "before": before, "after": after, "change": facts.change}


def title(facts: Facts) -> str:
    tasks = facts.arguments.get("tasks")
    recipe = Path(facts.record["recipe"]).name
    if not isinstance(tasks, str):
        return recipe
    named = tasks.split(",")  # all of them stand among the arguments
    return f"{recipe} on {', '.join(named)}" if len(named) <= 4 else f"{recipe} on {', '.join(named[:3])} and {len(named) - 3} more"


def verdict(facts: Facts) -> str:
    """What the paired change says, in words."""
    if facts.change is None:
        return ""
    words = {1: "better: the interval of the change lies above zero", -1: "worse: the interval of the change lies below zero"}
    return words.get(direction(facts.change), "not clearly changed: the interval of the change holds zero")


def tiles(facts: Facts, running: bool = False) -> list[tuple[str, str]]:
    """Small facts under the headline: name and value. Of a run that is ``running`` also how long it may still take."""
    counts = facts.counts
    of = f" of {facts.last}" if facts.last else ""
    attempts = int(counts["attempts"])
    found = [
        ("steps", f"{len(facts.steps)}{of}"),
        ("attempts", f"{attempts:,}"),
        ("tokens drawn", count(counts["sampled_tokens"])),
        ("time in training", duration(facts.total("seconds") or facts.wall)),
    ]
    left = (facts.last or 0) - len(facts.steps)
    if running and facts.steps and left > 0:
        found.append(("time left, about", duration(left * facts.wall / len(facts.steps))))
    if (limit := facts.record.get("options", {}).get("budget_tokens")) is not None:
        spent = facts.series("spent_tokens")[1]
        found.append(("token budget", f"{count(spent[-1] if spent else 0)} of {count(limit)}"))
    if counts["traces"] > counts["attempts"] > 0:
        found.append(("traces an attempt", f"{counts['traces'] / counts['attempts']:.1f}"))
    if counts["errors"]:
        found.append(("attempts with an error", f"{int(counts['errors']):,}"))
    return found


def points(share: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")


def seen(value: Any) -> Any:
    """A text with its control characters (terminal escapes) written out, for no font shows them; other values as they are."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value)
    return value


def shown(value: Any) -> str:
    """A configuration value as text."""
    if value is None:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, default=str)
