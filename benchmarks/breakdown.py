"""Where the time of sampling goes, and how near its matrix products are to what the processor does at most.

    python benchmarks/breakdown.py --size base --out runs/bench_breakdown_base.json

Each part of the decoder is timed where it is called (a clock around a call costs less than a microsecond); what no clock covers is
Python, the cache's copies and admission. ``products at the limit`` is the rate if every product ran at the machine's float32 rate
and all else as it does; ``products alone`` is the rate if there were nothing but products, at that rate: no engine in float32 is
faster. The machine's rate is read before each workload and the best so far is taken, for a shared machine has slow moments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from journeyman.bench import Workload, machine, model_of, sample, workloads
from journeyman.policies import fused
from journeyman.policies.decoder_policy import Decoder
from journeyman.policies.kernels import Kernels

PARTS: list[tuple[object, str, str]] = [
    (fused, "product", "products"),
    (fused, "add_product", "products"),
    (fused, "linear", "products"),
    (Kernels, "attend", "attention"),
    (fused.F, "scaled_dot_product_attention", "attention"),
    (Kernels, "heads", "norms, rotary heads, gate"),
    (Kernels, "rms_norm", "norms, rotary heads, gate"),
    (Kernels, "swiglu", "norms, rotary heads, gate"),
    (Kernels, "draw", "draw"),
]


class Clocks:
    """Seconds by part, and multiply-adds of products."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.products = 0

    def around(self, call: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            got = call(*arguments, **named)
            self.seconds[part] += time.perf_counter() - start
            if part == "products":
                x = arguments[1] if call.__name__ == "add_product" else arguments[0]
                self.products += x.numel() * got.shape[-1]
            return got

        return timed

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for owner, name, part in PARTS:
                stack.enter_context(patch.object(owner, name, self.around(getattr(owner, name), part)))
            yield


def breakdown(policy: Decoder, work: Workload, repeats: int, limit: float) -> dict[str, Any]:
    """Shares of one workload's time, over ``repeats`` rounds. ``limit`` in operations a second."""
    sample(policy, work)
    clocks, drawn, start = Clocks(), 0, time.perf_counter()
    with clocks.running():
        for _ in range(repeats):
            drawn += sample(policy, work)
    whole = time.perf_counter() - start
    parts = {**clocks.seconds, "Python, cache, admission": whole - sum(clocks.seconds.values())}
    at_limit = 2 * clocks.products / limit
    return {
        "workload": work.name,
        "tokens/s": drawn / whole,
        "share": {name: seconds / whole for name, seconds in parts.items()},
        "GFLOP/s of products": 2 * clocks.products / parts["products"] / 1e9,
        "tokens/s, products at the limit": drawn / (whole - parts["products"] + at_limit),
        "tokens/s, products alone": drawn / at_limit,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="base")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    policy = model_of(options.size, options.repeats, options.threads, "cpu", "float32")
    limits, rows = machine(), []
    for work in workloads(policy.model.architecture.vocab_size).values():
        limits = {name: max(limits[name], found) for name, found in machine().items()}
        print(f"{options.size}: {limits['gflops']:.0f} GFLOP/s, {limits['gbytes']:.0f} GB/s, {limits['threads']:.0f} threads")
        row = breakdown(policy, work, options.repeats, limits["gflops"] * 1e9)
        rows.append(row)
        shares = ", ".join(f"{name} {share:.0%}" for name, share in sorted(row["share"].items(), key=lambda x: -x[1]))
        print(f"{work.name}: {row['tokens/s']:,.0f} tokens/s: {shares}; products at {row['GFLOP/s of products']:.0f} GFLOP/s;")
        print(
            f"    with products at the limit {row['tokens/s, products at the limit']:,.0f} tokens/s, "
            f"products alone {row['tokens/s, products alone']:,.0f}"
        )
    if options.out:
        options.out.write_text(json.dumps({"machine": limits, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
