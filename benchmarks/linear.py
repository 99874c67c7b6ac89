"""Does cost grow linearly with sampled tokens? Times the engine at growing numbers of samples and at growing lengths.

    python benchmarks/linear.py --out runs/bench_linear

Writes OUT.json, OUT.html and, where Chromium is installed, OUT.png: seconds against drawn tokens, for 256 to 4,096 samples of 64
tokens, and for 256 samples of 64 to 512 tokens, each with the line through the origin that fits best and the largest distance
from it. The median of the repeats is shown; workloads are taken in turn.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch

from journeyman.bench import Workload, machine, sample
from journeyman.policies import Decoder, load_policy

COLOURS = ("#3b6ea8", "#c0563f")


def works(vocab: int) -> dict[str, list[Workload]]:
    """More samples, and longer ones; prompts of 32 tokens."""
    source = random.Random(0)
    prompts = [[source.randrange(4, vocab) for _ in range(32)] for _ in range(4096)]
    return {
        "more samples of 64 tokens": [Workload(f"{n} samples", prompts[:n], 1, 64) for n in (256, 512, 1024, 2048, 4096)],
        "256 samples, longer": [Workload(f"{t} tokens", prompts[:256], 1, t) for t in (64, 128, 256, 512)],
    }


def fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of the best line through the origin (least relative squares), and the largest relative distance from it."""
    slope = float((y / x).mean())
    return slope, float(np.abs(y / (slope * x) - 1).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    policy = load_policy("base", device="cpu")
    assert isinstance(policy, Decoder)
    series, drawn = works(policy.vocab), {}
    seconds: dict[str, list[float]] = {w.name: [] for work in series.values() for w in work}
    for turn in range(args.repeats + 1):
        for w in (w for work in series.values() for w in work):
            start = time.perf_counter()
            drawn[w.name] = sample(policy, w)
            if turn:  # the first is a warm-up
                seconds[w.name].append(time.perf_counter() - start)
    figure, found = go.Figure(), {}
    for colour, (name, work) in zip(COLOURS, series.items(), strict=True):
        x = np.array([float(drawn[w.name]) for w in work])
        y = np.array([statistics.median(seconds[w.name]) for w in work])
        slope, distance = fit(x, y)
        found[name] = {"tokens": x.tolist(), "seconds": y.tolist(), "tokens_a_second": 1 / slope, "largest_distance": distance}
        label = f"{name}: {1 / slope:,.0f} tokens/s, at most {100 * distance:.0f} % from linear"
        figure.add_scatter(x=x, y=y, mode="markers", name=label, marker={"color": colour, "size": 11})
        figure.add_scatter(x=[0, *x], y=[0, *(slope * x)], mode="lines", showlegend=False, line={"color": colour, "width": 1.5})
        print(label)
    figure.update_layout(
        title="Cost against sampled tokens (base model, two cores)" if args.threads == 2 else "Cost against sampled tokens",
        xaxis_title="tokens drawn",
        yaxis_title="seconds (median)",
        template="plotly_white",
        legend={"x": 0.02, "y": 0.98},
        width=900,
        height=520,
    )
    page = args.out.with_suffix(".html")
    figure.write_html(page, config={"displayModeBar": False})
    args.out.with_suffix(".json").write_text(json.dumps({"machine": machine(), "series": found, "seconds": seconds}, indent=1))
    if browser := shutil.which("chromium") or shutil.which("google-chrome"):
        shot = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=920,540", "--virtual-time-budget=5000"]
        command = [browser, *shot, f"--screenshot={args.out.with_suffix('.png')}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
