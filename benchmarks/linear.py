"""Does cost grow linearly with sampled tokens? Times the engine at growing numbers of samples and of tokens a sample.

    python benchmarks/linear.py --out runs/bench_linear

Writes OUT.json and OUT.html (a plot): seconds against drawn tokens, with the line through the origin that fits best and the
largest distance from it. The median of the repeats is shown; workloads are taken in turn.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch

from journeyman.bench import Workload, machine, sample
from journeyman.policies import Decoder, load_policy


def works(vocab: int) -> list[Workload]:
    """256 to 4,096 samples of 64 tokens."""
    source = random.Random(0)
    prompts = [[source.randrange(4, vocab) for _ in range(32)] for _ in range(4096)]
    return [Workload(str(n), prompts[:n], 1, 64) for n in (256, 512, 1024, 2048, 4096)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    policy = load_policy("base", device="cpu")
    assert isinstance(policy, Decoder)
    found = works(policy.vocab)
    seconds: dict[str, list[float]] = {w.name: [] for w in found}
    for turn in range(args.repeats + 1):
        for w in found:
            start = time.perf_counter()
            sample(policy, w)
            if turn:
                seconds[w.name].append(time.perf_counter() - start)
    x = np.array([64.0 * len(w.prompts) for w in found])
    y = np.array([statistics.median(seconds[w.name]) for w in found])
    slope = float((x * y).sum() / (x * x).sum())
    off = float(np.abs(y / (slope * x) - 1).max())
    figure = go.Figure([go.Scatter(x=x, y=y, mode="markers", name="measured"), go.Scatter(x=x, y=slope * x, name="linear")])
    title = f"{1 / slope:,.0f} tokens a second; at most {100 * off:.0f} % from linear"
    figure.update_layout(title=title, xaxis_title="tokens drawn", yaxis_title="seconds (median)", template="plotly_white")
    figure.write_html(args.out.with_suffix(".html"), include_plotlyjs="cdn")
    result = {"machine": machine(), "tokens": x.tolist(), "seconds": seconds, "slope": slope, "largest_distance": off}
    args.out.with_suffix(".json").write_text(json.dumps(result, indent=1))
    print(title)


if __name__ == "__main__":
    main()
