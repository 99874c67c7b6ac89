"""The result of a comparison as one HTML file that works offline, in the style of the run report."""

from __future__ import annotations

import html
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from journeyman.report.browse import in_script
from journeyman.report.figures import count, duration, figure, line, pct
from journeyman.report.page import HERE, plotly, points

Json = dict[str, Any]
# Colours of the recipes, (light, dark); those after them are used again, with other dashes.
COLOURS = {
    "sidea": ("#2b6490", "#6fb0dd"),
    "sideb": ("#b8691b", "#e3a35a"),
    "sidec": ("#2f7445", "#7cc48a"),
    "sided": ("#8a3f86", "#d28fce"),
    "sidee": ("#ab3444", "#e4848f"),
    "sidef": ("#5c6675", "#98a3b2"),
}
DASHES = ("solid", "dash", "dot", "dashdot")


def write_page(result: Json, path: Path) -> None:
    """Write the page, whole or not at all."""
    environment = Environment(loader=PackageLoader("journeyman.report", "page"), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"pct": pct, "points": points, "count": count, "duration": duration}
    drawn = [f for f in (curves(result), training(result), changes(result), costs(result), heat(result)) if f is not None]
    data = {"figures": {f["id"]: {"data": f["data"], "layout": f["layout"]} for f in drawn}, "attempts": [], "version": ""}
    labels = [r["label"] for r in result["recipes"]]
    swatches = "".join(f"--{name}: light-dark({light}, {dark}); " for name, (light, dark) in COLOURS.items())
    text = environment.get_template("compare.html").render(
        result=result,
        figures=drawn,
        title=" against ".join(labels) if len(labels) < 5 else f"{labels[0]} against {len(labels) - 1} others",
        data=in_script(data),
        result_json=in_script(result),
        nonce=secrets.token_urlsafe(16),
        style=Markup((HERE / "style.css").read_text(encoding="utf-8") + f":root {{ {swatches}}}"),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(plotly()),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(text, encoding="utf-8", errors="replace")
    scratch.replace(path)


# ---------------------------------------------------------------------------------------- figures


def shade(result: Json, label: str) -> tuple[str, str]:
    """A recipe's colour and dash."""
    i = [r["label"] for r in result["recipes"]].index(label)
    return list(COLOURS)[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]


def lines(result: Json, name: str, shown: str, factor: float = 1, smooth: int = 1) -> list[Json]:
    """One line a run over tokens spent, in the recipe's colour; the recipe stands once in the legend."""
    data: list[Json] = []
    seen: set[str] = set()
    for run in (r for r in result["runs"] if r["failed"] is None):
        colour, dash = shade(result, run["label"])
        x, y = [spent for spent, _ in run[name]], [factor * value for _, value in run[name]]
        y = [sum(part) / len(part) for i in range(len(y)) if (part := y[max(0, i + 1 - smooth) : i + 1])]
        trace = line(x, y, colour, html.escape(run["label"], quote=False))
        trace["line"] |= {"dash": dash, "width": 1.7}
        trace |= {"legendgroup": run["label"], "showlegend": run["label"] not in seen, "opacity": 0.85}
        data.append({**trace, "hovertemplate": f"{shown} (seed {run['seed']})"})
        seen.add(run["label"])
    return data


def budget_line(result: Json) -> Json:
    mark: Json = {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": "@before", "dash": "dot", "width": 1.5},
    }
    return {**mark, "x0": result["budget_tokens"], "x1": result["budget_tokens"]}


def ahead(result: Json, label: str) -> bool:
    """Whether a recipe is better than each other one by an interval that leaves out zero."""
    own = [d for d in result["differences"] if label in (d["a"], d["b"])]
    return bool(own) and all(d["low"] > 0 if d["a"] == label else d["high"] < 0 for d in own)


def curves(result: Json) -> Json | None:
    """Held-out accuracy over what was spent."""
    ranked = sorted((r for r in result["recipes"] if r["after"]), key=lambda r: -r["after"]["mean"])
    if not ranked:
        return None
    best, last = ranked[0], ranked[-1]
    if len(ranked) > 1 and not ahead(result, best["label"]):
        span = f"{pct(last['after']['mean'])} to {pct(best['after']['mean'])}"
        title = f"Held-out accuracy after training: {span}, none clearly ahead"
    else:
        title = f"Held-out accuracy after training is highest with {best['label']}: {pct(best['after']['mean'])}"
    note = "One line a run. The dotted line is the budget. Evaluations along the way are there with --eval-every."
    shapes = [budget_line(result)]
    return figure(
        "learning",
        title,
        note,
        lines(result, "curve", "%{y:.1f} %", 100),
        "correct (%)",
        "tokens spent",
        shapes=shapes,
        hovermode="closest",
    )


def training(result: Json) -> Json | None:
    """The score of attempts in training, over what was spent."""
    data = lines(result, "training", "%{y:.3f}", smooth=5)
    if not data:
        return None
    note = "Mean over checked attempts and the last 5 steps, one line a run. Curricula and experts may differ between recipes."
    title = "Score of the attempts in training"
    shapes = [budget_line(result)]
    return figure("training", title, note, data, "score", "tokens spent", shapes=shapes, hovermode="closest")


def changes(result: Json) -> Json | None:
    """Paired change of each recipe with its interval."""
    found = [r for r in result["recipes"] if r["change"]]
    if not found:
        return None
    data: list[Json] = []
    for i, one in enumerate(found):
        low, mean, high = (100 * one["change"][k] for k in ("low", "mean", "high"))
        colour, _ = shade(result, one["label"])
        bars = {
            "type": "data",
            "symmetric": False,
            "array": [high - mean],
            "arrayminus": [mean - low],
            "width": 0,
            "color": f"@{colour}",
        }
        hover = f"{mean:+.1f} points ({low:+.1f} to {high:+.1f})<extra></extra>"
        mark = {"color": f"@{colour}", "size": 10}
        data.append({"x": [mean], "y": [i], "mode": "markers", "error_x": bars, "marker": mark, "hovertemplate": hover})
    sure = sum(one["change"]["low"] > 0 for one in found)
    title = f"{sure} of {len(found)} recipes got better: their intervals lie above zero"
    note = f"Change of held-out pass@1, paired by seed and task, with 95 % intervals over both ({len(result['seeds'])} seeds)."
    names = [html.escape(one["label"], quote=False) for one in found]
    axes: Json = {
        "yaxis": {"tickvals": list(range(len(names))), "ticktext": names, "range": [len(names) - 0.5, -0.5], "showgrid": False}
    }
    axes |= {"xaxis": {"showgrid": True, "zeroline": True, "zerolinecolor": "@before"}, "showlegend": False}
    return figure("changes", title, note, data, x="points", height=130 + 46 * len(names), hovermode="closest", **axes)


def costs(result: Json) -> Json | None:
    """What a run cost, mean over seeds."""
    found = [r for r in result["recipes"] if r["change"]]
    if not found:
        return None
    names = [html.escape(one["label"], quote=False) for one in found]
    data: list[Json] = [
        {"type": "bar", "x": names, "y": [one[key] for one in found], "name": name, "marker": {"color": f"@{colour}"}}
        for key, name, colour in (
            ("spent_tokens", "spent", "policy"),
            ("sampled_tokens", "of it sampled", "before"),
            ("trained_tokens", "trained on", "expert"),
        )
    ]
    for trace in data:
        trace["hovertemplate"] = "%{y:,.4~s}"
    ends = [count(edge(r["spent_tokens"] for r in found)) for edge in (min, max)]
    title = f"A run spent {' to '.join(dict.fromkeys(ends))} tokens"
    note = "Means over seeds. Spent is in tokens of the base model's size; a run ends with the step that passes the budget."
    return figure("costs", title, note, data, "tokens", x="", barmode="group")


def heat(result: Json) -> Json | None:
    """The win matrix."""
    if not result["differences"]:
        return None
    names = [html.escape(label, quote=False) for label in result["wins"]["labels"]]
    share = [[None if x is None else 100 * x for x in row] for row in result["wins"]["share"]]
    trace: Json = {"type": "heatmap", "x": names, "y": names, "z": share, "zmin": 0, "zmax": 100, "xgap": 3, "ygap": 3}
    trace |= {"colorscale": [[0, "@bad"], [0.5, "@card"], [1, "@good"]], "showscale": False, "hoverongaps": False}
    trace |= {"texttemplate": "%{z:.0f}", "hovertemplate": "%{y} beats %{x} in %{z:.0f} % of draws<extra></extra>"}
    sure = sum(d["low"] > 0 or d["high"] < 0 for d in result["differences"])
    title = f"{sure} of {len(result['differences'])} differences between recipes are told apart from none"
    note = f"Percent: {result['wins']['rule']}."
    axes = {"xaxis": {"ticks": "", "type": "category"}, "yaxis": {"autorange": "reversed", "showgrid": False, "type": "category"}}
    return figure("wins", title, note, [trace], x="", height=max(260, 110 + 56 * len(names)), hovermode="closest", **axes)
