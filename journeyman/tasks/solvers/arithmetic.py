"""chain_sum, products and leg_counting: running totals and running products. One path: terms are taken in order."""

from __future__ import annotations

import re

from reasoning_gym.arithmetic.leg_counting import ANIMALS

from journeyman.tasks.entries import Entry
from journeyman.tasks.solvers.columns import multiply, signed
from journeyman.tasks.solvers.steps import Written, one_path


def _chain_sum(entry: Entry) -> Written:
    parts = entry["metadata"]["expression"].split(" ")
    total, lines = int(parts[0]), []
    for op, term in zip(parts[1::2], parts[2::2], strict=True):
        change = int(term) if op == "+" else -int(term)
        lines.append(signed(total, change))
        total += change
    return lines, str(total)


def _products(entry: Entry) -> Written:
    factors = [int(n) for n in re.findall(r"-?\d+", entry["metadata"]["expression"])]
    total, lines = factors[0], []
    for factor in factors[1:]:
        lines += multiply(abs(total), abs(factor))
        total *= factor
    return lines, str(total)


def _leg_counting(entry: Entry) -> Written:
    total, lines = 0, []
    for animal, count in entry["metadata"]["animals"].items():
        legs = count * ANIMALS[animal]
        lines.append(f"{count} {animal}: {count}*{ANIMALS[animal]}={legs} {total}+{legs}={total + legs}")
        total += legs
    return lines, str(total)


chain_sum = one_path(_chain_sum)
products = one_path(_products)
leg_counting = one_path(_leg_counting)
