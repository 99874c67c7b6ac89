"""Levels: the project's own difficulty tables over the configuration fields of reasoning-gym generators.

``LEVELS[family][level]`` is a mapping of overrides for the generator's configuration, from trivial (0) to hard.
They exist because the library's own lowest levels are too hard for a small model. Every level has at least 5,000
distinct questions (``distinct_estimate``; tests/solvers/test_levels.py measures each). The tables are frozen before
pretraining: changing one changes what every published number means, so a change needs a new version of the base model.

What the base model never trains on, kept for measuring generalisation:
``HELD_OUT_FAMILIES`` (whole families) and ``HELD_OUT_LEVELS`` (the hardest levels of some trained families).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Override = dict[str, Any]

LEVELS: dict[str, list[Override]] = {
    # arithmetic
    "chain_sum": [
        {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 2},
        {"min_terms": 3, "max_terms": 3, "min_digits": 2, "max_digits": 2},
        {"min_terms": 3, "max_terms": 4, "min_digits": 3, "max_digits": 3},
        {"min_terms": 5, "max_terms": 6, "min_digits": 4, "max_digits": 4},
        {"min_terms": 8, "max_terms": 9, "min_digits": 4, "max_digits": 5},
    ],
    "products": [
        {"min_terms": 4, "max_terms": 4, "min_digits": 1, "max_digits": 1},
        {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 2},
        {"min_terms": 2, "max_terms": 2, "min_digits": 3, "max_digits": 3},
        {"min_terms": 2, "max_terms": 2, "min_digits": 4, "max_digits": 4},
        {"min_terms": 3, "max_terms": 3, "min_digits": 3, "max_digits": 3},
    ],
    "leg_counting": [
        {"min_animals": 2, "max_animals": 2, "min_instances": 1, "max_instances": 5},
        {"min_animals": 3, "max_animals": 3, "min_instances": 1, "max_instances": 9},
        {"min_animals": 4, "max_animals": 6, "min_instances": 1, "max_instances": 15},
        {"min_animals": 8, "max_animals": 10, "min_instances": 1, "max_instances": 40},
    ],
    # algebra
    "simple_equations": [
        {"min_terms": 2, "max_terms": 2, "max_value": 9, "operators": ("+", "-"), "operators_weights": [0.5, 0.5]},
        {"min_terms": 2, "max_terms": 2, "max_value": 12},
        {"min_terms": 2, "max_terms": 3, "max_value": 40},
        {"min_terms": 3, "max_terms": 4, "max_value": 100},
    ],
    # number theory
    "gcd": [
        {"min_value": 2, "max_value": 120},
        {"min_value": 10, "max_value": 500},
        {"min_value": 10, "max_value": 300, "min_numbers": 3, "max_numbers": 3},
        {"min_value": 1000, "max_value": 10000, "min_numbers": 2, "max_numbers": 3},
    ],
    "lcm": [
        {"min_value": 2, "max_value": 120},
        {"min_value": 10, "max_value": 300},
        {"min_value": 2, "max_value": 50, "min_numbers": 3, "max_numbers": 3},
        {"min_value": 10, "max_value": 100, "min_numbers": 3, "max_numbers": 3},
    ],
    "fraction_simplification": [
        {"min_value": 1, "max_value": 40, "min_factor": 2, "max_factor": 9},
        {"min_value": 1, "max_value": 100, "min_factor": 2, "max_factor": 12},
        {"min_value": 10, "max_value": 300, "min_factor": 2, "max_factor": 40},
        {"min_value": 100, "max_value": 1000, "min_factor": 10, "max_factor": 100},
    ],
    "base_conversion": [
        {"min_base": 2, "max_base": 10, "min_value": 1, "max_value": 100},
        {"min_base": 2, "max_base": 10, "min_value": 100, "max_value": 500},
        {"min_base": 2, "max_base": 16, "min_value": 100, "max_value": 1000},
        {"min_base": 2, "max_base": 16, "min_value": 1000, "max_value": 10000},
    ],
    "count_bits": [
        {"min_n": 1, "max_n": 2**13 - 1},
        {"min_n": 2**13, "max_n": 2**16 - 1},
        {"min_n": 2**16, "max_n": 2**20 - 1},
        {"min_n": 2**20, "max_n": 2**26 - 1},
    ],
    # sorting
    "number_sorting": [
        {"min_numbers": 3, "max_numbers": 3, "max_decimals": 0, "min_value": 0, "max_value": 100},
        {"min_numbers": 4, "max_numbers": 5, "max_decimals": 0, "min_value": -100, "max_value": 100},
        {"min_numbers": 6, "max_numbers": 7, "max_decimals": 1, "min_value": -100, "max_value": 100},
        {"min_numbers": 9, "max_numbers": 10, "max_decimals": 2, "min_value": -1000, "max_value": 1000},
    ],
    "number_filtering": [
        {"min_numbers": 3, "max_numbers": 3, "max_decimals": 0, "min_value": 0, "max_value": 100},
        {"min_numbers": 4, "max_numbers": 5, "max_decimals": 0, "min_value": -100, "max_value": 100},
        {"min_numbers": 6, "max_numbers": 7, "max_decimals": 1, "min_value": -100, "max_value": 100},
        {"min_numbers": 9, "max_numbers": 10, "max_decimals": 2, "min_value": -1000, "max_value": 1000},
    ],
    # strings
    "spell_backward": [
        {"min_word_len": 3, "max_word_len": 5},
        {"min_word_len": 5, "max_word_len": 6},
        {"min_word_len": 7, "max_word_len": 8},
        {"min_word_len": 9, "max_word_len": 10},
    ],
    "word_sequence_reversal": [
        {"min_words": 2, "max_words": 3},
        {"min_words": 4, "max_words": 5},
        {"min_words": 6, "max_words": 7},
        {"min_words": 9, "max_words": 10},
    ],
    "letter_counting": [
        {"min_words": 2, "max_words": 3},
        {"min_words": 4, "max_words": 5},
        {"min_words": 7, "max_words": 9},
        {"min_words": 13, "max_words": 15},
    ],
    # search, grids and logic
    "countdown": [
        {"min_numbers": 3, "max_numbers": 3, "max_value": 20, "min_target": 1, "max_target": 99, "operators": ("+", "-")},
        {"min_numbers": 3, "max_numbers": 3, "max_value": 20, "min_target": 1, "max_target": 200},
        {"min_numbers": 4, "max_numbers": 4, "max_value": 20, "min_target": 1, "max_target": 200},
        {"min_numbers": 5, "max_numbers": 5, "max_value": 50, "min_target": 10, "max_target": 500},
    ],
    "mini_sudoku": [
        {"min_empty": 2, "max_empty": 3},
        {"min_empty": 4, "max_empty": 5},
        {"min_empty": 6, "max_empty": 8},
        {"min_empty": 10, "max_empty": 12},
    ],
    "rotate_matrix": [
        {"min_n": 2, "max_n": 2, "max_rotations": 3},
        {"min_n": 3, "max_n": 3, "max_rotations": 3},
        {"min_n": 4, "max_n": 4, "max_rotations": 6},
        {"min_n": 5, "max_n": 6, "max_rotations": 10},
    ],
    "knights_knaves": [
        {"n_people": 2, "depth_constraint": 2},  # at depth 1 every puzzle has an even number of solutions, never one
        {"n_people": 2, "depth_constraint": 3},
        {"n_people": 3, "depth_constraint": 2},
        {"n_people": 4, "depth_constraint": 3},
    ],
    # calendar and units
    "calendar_arithmetic": [
        {"tasks": ["weekday_offset"], "offset_upper_bound": 7},
        {"tasks": ["weekday_offset"], "offset_upper_bound": 100},
        {"tasks": ["weekday_of_date_from_first_date"], "offset_upper_bound": 365},
        {"tasks": ["weekday_of_date_from_first_date", "weekday_of_date"], "offset_upper_bound": 365},
    ],
    "time_intervals": [
        {"task_types": ["time"], "max_time_difference_seconds": 3600},
        {"task_types": ["time"], "max_time_difference_seconds": 6 * 3600},
        {"task_types": ["time_seconds"], "max_time_difference_seconds": 3600},
        {"task_types": ["time_seconds"]},
    ],
}

HELD_OUT_FAMILIES: frozenset[str] = frozenset({"lcm", "number_filtering", "word_sequence_reversal"})

HELD_OUT_LEVELS: frozenset[tuple[str, int]] = frozenset(
    {("chain_sum", 4), ("products", 4), ("number_sorting", 3), ("letter_counting", 3), ("rotate_matrix", 3), ("count_bits", 3)}
)


HARD = 3
"""The level from which declining is taught, where it is invited."""


def trained_levels(families: Sequence[str] = ()) -> list[tuple[str, int]]:
    """(family, level) pairs that pretraining may use, in table order; only these families when some are named.

    Raises ValueError for a family without a table and for a held-out family.
    """
    unknown = [f for f in families if f not in LEVELS]
    if unknown:
        raise ValueError(f"no level table for {unknown}: expected some of {sorted(LEVELS)}")
    reserved = [f for f in families if f in HELD_OUT_FAMILIES]
    if reserved:
        raise ValueError(f"{reserved} are held out and never trained on: leave them out (HELD_OUT_FAMILIES)")
    chosen = families or [f for f in LEVELS if f not in HELD_OUT_FAMILIES]
    return [(f, n) for f in chosen for n in range(len(LEVELS[f])) if (f, n) not in HELD_OUT_LEVELS]


def distinct_estimate(draws: Sequence[str]) -> float:
    """Distinct questions behind a sample with replacement, from how often two draws are equal.

    With n draws, ``pairs`` equal pairs and probabilities p_i, E[pairs] = n (n-1) / 2 x sum p_i^2, and 1 / sum p_i^2
    is at most the number of distinct questions (equal when all are equally likely): a cautious estimate. With no
    equal pair the bound for one pair is returned.
    """
    n = len(draws)
    counts: dict[str, int] = {}
    for draw in draws:
        counts[draw] = counts.get(draw, 0) + 1
    pairs = sum(c * (c - 1) // 2 for c in counts.values())
    return n * (n - 1) / 2 / max(pairs, 1)
