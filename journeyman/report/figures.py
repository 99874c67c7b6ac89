"""The report's plots as plotly figures in plain JSON values. A colour "@policy" or "@policy/0.2" names one of the page's
own, which has a light and a dark value. Every figure has a title that says what is seen in it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from statistics import mean
from typing import Any

from journeyman.report.change import difference, direction, told
from journeyman.report.facts import Facts, Json
from journeyman.report.words import count, duration, number, pct, short_label

FEW = 40  # points that are drawn with a marker each
MANY = 8  # rows of a figure that stand close and take the whole width where there are more


def figures(facts: Facts) -> list[Json]:
    """The figures for which the run has data: id, title, note, plotly data and layout."""
    drawn = [learning(facts), experts(facts), passes(facts), cells(facts), gaps(facts), *curves(facts)]
    drawn += [tokens(facts), seconds(facts)]
    found = [figure for figure in drawn if figure is not None]
    for one in found:
        one["title"] = one["title"].replace(" %", "\N{NO-BREAK SPACE}%")  # a line never begins with the sign
    return found


def figure(
    id: str, title: str, note: str, data: list[Json], y: str = "", x: str = "step", height: int = 320, **layout: Any
) -> Json:
    """A figure in the house style. ``layout`` updates it."""
    axis = {"gridcolor": "@line", "zeroline": False, "linecolor": "@line", "automargin": True, "fixedrange": True}
    wide = len(data) > 1 and any(trace.get("showlegend", True) and trace.get("name") for trace in data)
    style: Json = {
        "height": height,
        "margin": {"l": 8, "r": 14, "t": 34 if wide else 10, "b": 8},
        "showlegend": wide,
        "legend": {"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom", "itemclick": False},
        "hovermode": "x unified",
        "xaxis": {**axis, "title": {"text": x}, "showgrid": False, "ticks": "outside", "tickcolor": "@line"},
        "yaxis": {**axis, "title": {"text": y}},
    }
    steps = [at for trace in data for at in trace["x"]] if x == "step" else []
    if steps and max(steps) - min(steps) <= 12:
        style["xaxis"]["dtick"] = 1  # there is no step 1.5
    for key, value in layout.items():
        style[key] = {**style[key], **value} if isinstance(value, dict) and key in style else value
    return {"id": id, "title": title, "note": note, "data": data, "layout": style}


def learning(facts: Facts) -> Json | None:
    """Accuracy over steps: as sampled in training, and of the policy alone on held-out tasks."""
    data: list[Json] = []
    found = facts.rounds
    if found:
        estimates = [vars(r.policy) for r in found]
        data += banded([r.step for r in found], estimates, "policy", "training tasks, as sampled")
    points = facts.evaluations
    if points:
        data.append(dots([step for step, _ in points], [e for _, e in points], "eval", "held-out tasks, policy alone"))
    if not data:
        return None
    if len(points) > 1:
        (start, first), (stop, final) = points[0], points[-1]
        change = facts.change if facts.after and facts.change else difference(final, first)
        places = "before" if start == 0 else f"after step {start}", "after" if facts.after else f"after step {stop}"
        title = told("Held-out accuracy", change, pct(first["mean"]), pct(final["mean"]), places)
    elif len(found) > 1:
        first, final = found[0], found[-1]
        change = difference(vars(final.policy), vars(first.policy))
        places = f"in step {first.step}", f"in step {final.step}"
        title = told("Accuracy as sampled", change, pct(first.policy.mean), pct(final.policy.mean), places)
    else:
        title = f"Held-out accuracy before training is {pct(points[0][1]['mean'])}" if points else "One step so far"
    note = "Bands and bars: 95 % intervals, clustered by task. Training tasks differ from step to step; held-out tasks stay."
    return figure("learning", title, note, data, "correct (%)", yaxis={"rangemode": "tozero"})


def experts(facts: Facts) -> Json | None:
    """The policy as sampled against what the best of each group reaches, with the gap between them."""
    found = facts.rounds
    if not found or max(r.siblings for r in found) < 2:
        return None
    x = [r.step for r in found]
    most = max(r.siblings for r in found)
    policy, expert = [vars(r.policy) for r in found], [vars(r.expert) for r in found]
    gaps = [100 * (r.expert.mean - r.policy.mean) for r in found]
    between: Json = {
        "x": [*x, *reversed(x)],
        "y": [*(100 * e["mean"] for e in expert), *(100 * e["mean"] for e in reversed(policy))],
        "fill": "toself",
        "fillcolor": "@expert/0.10",
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
    }
    data = [between, *banded(x, expert, "expert", f"expert: best of {most}"), *banded(x, policy, "policy", one_attempt(facts))]
    gap: Json = {"x": x, "y": gaps, "name": "gap", "mode": "lines", "line": {"width": 0}, "showlegend": False}
    data.append({**gap, "hovertemplate": "%{y:.1f} points<extra>gap</extra>"})
    if len(found) > 1:
        title = f"The expert is {gaps[-1]:.0f} points ahead of one attempt ({gaps[0]:.0f} in the first step)"
    else:
        title = f"The expert is {gaps[0]:.0f} points ahead of one attempt"
    note = "The distillation gap, shaded, is what the next rounds can still teach: the share of tasks that some sibling solved, "
    note += "less the share of attempts that are right."
    return figure("expert", title, note, data, "correct (%)", yaxis={"rangemode": "tozero"})


def one_attempt(facts: Facts) -> str:
    """What one attempt of training is: the policy alone, or a strategy over it."""
    strategy = facts.arguments.get("strategy", "sample")
    return "policy: one attempt" if strategy in ("sample", "sample()") else f"one attempt of {short_label(str(strategy))}"


def gaps(facts: Facts) -> Json | None:
    """The distillation gap of each step by itself, with its interval."""
    found = facts.rounds
    if not found or max(r.siblings for r in found) < 2:
        return None
    first, final = vars(found[0].gap), vars(found[-1].gap)
    if len(found) > 1:
        places = f"in step {found[0].step}", f"in step {found[-1].step}"
        start, stop = (f"{100 * e['mean']:.1f} points" for e in (first, final))
        title = told("Distillation gap", difference(final, first), start, stop, places)
    else:
        title = f"Distillation gap: {100 * first['mean']:.1f} points"
    note = "Best of each group less one attempt, mean over the step's tasks, with 95 % intervals."
    data = banded([r.step for r in found], [vars(r.gap) for r in found], "expert", "gap")
    return figure("gap", title, note, data, "points", height=230, margin={"t": 10}, yaxis={"rangemode": "tozero"}, showlegend=False)


def passes(facts: Facts) -> Json | None:
    """pass@1, pass@k and maj@k, before and after."""
    if facts.before is None:
        return None
    k, before = facts.before["k"], facts.before["overall"]
    after = facts.after["overall"] if facts.after else None
    names = {"pass_1": "pass@1", **({"maj_k": f"maj@{k}", "pass_k": f"pass@{k}"} if k > 1 else {})}
    rows = [(name, before[key], after and after[key]) for key, name in names.items()]
    if after is None:
        title = f"Before training, pass@1 is {pct(before['pass_1']['mean'])}"
    elif k > 1:
        final, base = pct(after["pass_1"]["mean"]), pct(before["maj_k"]["mean"])
        if side := direction(difference(after["pass_1"], before["maj_k"])):
            word = "above" if side > 0 else "below"
            title = f"One attempt after training ({final}) is {word} the base model's majority of {k} ({base})"
        else:
            title = f"One attempt after training ({final}) and the base model's majority of {k} ({base}): no clear difference"
    else:
        change = facts.change or difference(after["pass_1"], before["pass_1"])
        title = told("pass@1", change, pct(before["pass_1"]["mean"]), pct(after["pass_1"]["mean"]))
    note = f"{before['n_tasks']} held-out tasks, {k} attempts each. The dotted line is the base model's maj@{k}." if k > 1 else ""
    note += " The title takes the two for independent, which claims too little rather than too much." if k > 1 and after else ""
    line: Json = {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": "@before", "dash": "dot", "width": 1.5},
    }
    shapes = [{**line, "x0": 100 * before["maj_k"]["mean"], "x1": 100 * before["maj_k"]["mean"]}] if k > 1 else []
    return dumbbell("passes", title, note or f"{before['n_tasks']} held-out tasks.", rows, shapes=shapes)


def cells(facts: Facts) -> Json | None:
    """pass@1 by family and level, before and after."""
    if facts.before is None or len(facts.before["cells"]) < 2:
        return None
    new = {(c["family"], c["level"]): c for c in facts.after["cells"]} if facts.after else {}
    many = len(facts.before["families"]) > 1
    rows = []
    for old in facts.before["cells"]:
        name = f"{old['family'] or 'tasks'}, level {old['level']}" if many else f"level {old['level']}"
        found = new.get((old["family"], old["level"]))
        rows.append((name, old["pass_1"], found and found["pass_1"]))
    if new:
        turns = [direction(difference(after, before)) for _, before, after in rows if after is not None]
        up, down = turns.count(1), turns.count(-1)
        title = f"{up} of {len(rows)} kinds of task got clearly better" + (f", {down} clearly worse" if down else "")
        if not up and not down:
            title = f"No clear change in any of {len(rows)} kinds of task"
    else:
        hardest = min(rows, key=lambda row: row[1]["mean"])
        title = f"Before training, the hardest is {hardest[0]} at {pct(hardest[1]['mean'])}"
    note = f"pass@1 by {'family and level' if many else 'level'}, with 95 % intervals."
    note += " A kind counts as changed where the interval of its own difference leaves out zero." if new else ""
    return dumbbell("cells", title, note, rows)


def dumbbell(id: str, title: str, note: str, rows: Sequence[tuple[str, Json, Json | None]], **layout: Any) -> Json:
    """Rows of before and after with intervals, joined by a line; the first row on top."""
    names = [html.escape(name[:200], quote=False) for name, _, _ in rows]
    labels = [html.escape(short_label(name), quote=False) for name, _, _ in rows]
    height = list(range(len(rows)))
    data: list[Json] = []
    both = [(y, old, new) for y, (_, old, new) in zip(height, rows, strict=True) if new is not None]
    if both:
        xs = [x for _, old, new in both for x in (100 * old["mean"], 100 * new["mean"], None)]
        ys = [v for y, _, _ in both for v in (y, y, None)]
        join: Json = {"x": xs, "y": ys, "mode": "lines", "line": {"color": "@line", "width": 5}, "hoverinfo": "skip"}
        data.append({**join, "showlegend": False})
    close = len(rows) > MANY
    shift = 0.18 if close else 0.11
    sides = (
        ("before", [(y, row[1]) for y, row in zip(height, rows, strict=True)], -shift),
        ("after", [(y, new) for y, _, new in both], shift),
    )
    for side, found, by in sides:
        if found:
            trace = dots([0] * len(found), [e for _, e in found], side, side)
            trace["x"], trace["y"] = trace["y"], [y + by for y, _ in found]
            trace["error_x"] = trace.pop("error_y")
            trace["text"] = [names[y] for y, _ in found]
            interval = "%{x:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f})"
            data.append({**trace, "hovertemplate": f"%{{text}}: {interval}<extra>{side}</extra>"})
    ticks = {"tickvals": height, "ticktext": labels, "range": [len(rows) - 0.5, -0.5], "title": {"text": ""}, "showgrid": False}
    spread = [e[key] for _, *pair in rows for e in pair if e is not None for key in ("low", "high")]
    span = [max(-1, 100 * min(spread) - 3), min(101, 100 * max(spread) + 3)]
    axes = {"xaxis": {"range": span, "showgrid": True}, "yaxis": ticks}
    return figure(
        id,
        title,
        note,
        data,
        x="correct (%)",
        height=130 + (28 if close else 46) * len(rows),
        hovermode="closest",
        **axes,
        **layout,
    )


CURVES = (  # metric, its word, unit, factor, colour, note
    (
        "surprise",
        "Entropy",
        "nats a token",
        1,
        "policy",
        "Of sampling, estimated without bias by the mean of -log p of the sampled tokens (surprise).",
    ),
    ("length", "Length", "tokens a trace", 1, "policy", "Mean tokens drawn by one call."),
    ("truncated", "Truncation", "% of traces", 100, "bad", "Traces cut off by the token limit or the context."),
    ("informative", "Informative groups", "% of tasks", 100, "expert", "Tasks whose siblings do not all have the same score."),
    ("unchecked", "Unchecked attempts", "% of attempts", 100, "bad", "Attempts that got no score: abstained, timed out, failed."),
)


def curves(facts: Facts) -> list[Json]:
    """One small figure for each of the other metrics that the run has; shares that stay at zero are left out."""
    losses = sorted({name for known in facts.metrics.values() for name in known if name == "loss" or name.endswith("/loss")})
    extra = [
        (name, name.capitalize(), "", 1, "expert", "The objective in its own units, mean over the step's updates.")
        for name in losses
    ]
    found: list[Json] = []
    for name, word, unit, factor, colour, note in (*CURVES, *extra):
        x, values = facts.series(name)
        y = [factor * value for value in values]
        if not y or (name in ("unchecked", "truncated") and not any(y)):
            continue
        first, final = mean(y[: end(y)]), mean(y[-end(y) :])
        told = " %" if factor == 100 else unit and f" {unit}"
        if number(first) == number(final):
            title = f"{word} {'is' if len(y) == 1 else 'stays at'} {number(final)}{told}"
        else:
            title = f"{word} went from {number(first)} to {number(final)}{told}"
        if end(y) > 1:
            note += f" The title compares the means of the first and the last {end(y)} steps."
        found.append(figure(plain(name), title, note, [line(x, y, colour, html.escape(word, quote=False))], unit, height=230))
    return found


def tokens(facts: Facts) -> Json | None:
    """Tokens read, drawn and trained on, by step."""
    x, sampled = facts.series("sampled_tokens")
    if not x:
        return None
    data = [bars(*facts.series("prompt_tokens"), "before", "read"), bars(x, sampled, "policy", "drawn")]
    title = f"The expert drew {count(sum(sampled))} tokens"
    trained = facts.series("trained_tokens")
    if trained[0]:
        data.append(bars(*trained, "expert", "trained on"))
        title += f"; the learner trained on {count(sum(trained[1]))}"
    return figure(
        "tokens",
        title,
        "Training steps only; the evaluations before and after are in the table.",
        data,
        "tokens",
        height=260,
        barmode="group",
    )


def seconds(facts: Facts) -> Json | None:
    """Seconds by step."""
    x, y = facts.series("seconds")
    if not x:
        return None
    middle = sorted(y)[len(y) // 2]
    title = f"{len(x)} step{'s' * (len(x) > 1)} took {duration(sum(y))}, {number(middle)} s at the median"
    return figure(
        "seconds",
        title,
        "Sampling, judging and learning; evaluations are not in it.",
        [bars(x, y, "before", "seconds")],
        "seconds",
        height=260,
    )


# ---------------------------------------------------------------------------------------- marks


def banded(x: Sequence[int], estimates: Sequence[Json], colour: str, name: str) -> list[Json]:
    """A line of means, in percent, over the band of their intervals; a single point gets a bar."""
    if len(x) == 1:
        return [dots(x, estimates, colour, name)]
    low, high = [100 * e["low"] for e in estimates], [100 * e["high"] for e in estimates]
    band: Json = {"x": [*x, *reversed(x)], "y": [*high, *reversed(low)], "fill": "toself", "fillcolor": f"@{colour}/0.16"}
    band |= {"line": {"width": 0}, "mode": "lines", "hoverinfo": "skip", "showlegend": False}
    return [band, {**line(x, [100 * e["mean"] for e in estimates], colour, name), **hover(low, high)}]


def dots(x: Sequence[int], estimates: Sequence[Json], colour: str, name: str) -> Json:
    """Points, in percent, with their intervals as bars."""
    y = [100 * e["mean"] for e in estimates]
    low, high = [100 * e["low"] for e in estimates], [100 * e["high"] for e in estimates]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [h - m for h, m in zip(high, y, strict=True)],
        "width": 0,
        "thickness": 1.6,
    }
    bars |= {"arrayminus": [m - lo for lo, m in zip(low, y, strict=True)], "color": f"@{colour}"}
    mark = {"color": f"@{colour}", "size": 9}
    return {"x": list(x), "y": y, "mode": "markers", "name": name, "marker": mark, "error_y": bars, **hover(low, high)}


def hover(low: Sequence[float], high: Sequence[float]) -> Json:
    interval = "%{y:.1f} % (%{customdata[0]:.1f} to %{customdata[1]:.1f})"
    return {"customdata": [list(pair) for pair in zip(low, high, strict=True)], "hovertemplate": interval}


def line(x: Sequence[int], y: Sequence[float], colour: str, name: str) -> Json:
    few = {"mode": "lines+markers", "marker": {"size": 5, "color": f"@{colour}"}} if len(x) <= FEW else {"mode": "lines"}
    return {
        "x": list(x),
        "y": list(y),
        "name": name,
        "line": {"color": f"@{colour}", "width": 2},
        "hovertemplate": "%{y:.4~g}",
        **few,
    }


def bars(x: Sequence[int], y: Sequence[float], colour: str, name: str) -> Json:
    hovered = "%{y:,.4~s}" if name != "seconds" else "%{y:.1f} s"
    return {"type": "bar", "x": list(x), "y": list(y), "name": name, "marker": {"color": f"@{colour}"}, "hovertemplate": hovered}


def end(values: Sequence[float]) -> int:
    """How many values stand for the start of a curve, or its end: a fifth, since single steps are noisy."""
    return max(1, len(values) // 5)


def plain(name: str) -> str:
    """A metric's name as the id of its figure."""
    return "".join(c if c.isalnum() or c in "_-" else "-" for c in name)
