"""The level tables: valid, wide enough, and held-out parts kept apart."""

from __future__ import annotations

from random import Random

import pytest

from journeyman.tasks.levels import HELD_OUT_FAMILIES, HELD_OUT_LEVELS, LEVELS, distinct_estimate, trained_levels
from tests.solvers.sample import ALL, dataset, entries

SLOW = {"countdown", "simple_equations", "mini_sudoku", "knights_knaves"}


def test_at_least_twelve_trained_families_of_four_levels() -> None:
    assert len({family for family, _ in trained_levels()}) >= 12
    assert all(len(levels) >= 4 for levels in LEVELS.values())
    assert all(len([f for f, _ in trained_levels() if f == family]) >= 3 for family in LEVELS if family not in HELD_OUT_FAMILIES)


def test_held_out_names_exist_and_are_not_trained() -> None:
    assert set(LEVELS) >= HELD_OUT_FAMILIES
    assert set(ALL) >= HELD_OUT_LEVELS
    assert not {family for family, _ in trained_levels()} & HELD_OUT_FAMILIES
    assert not set(trained_levels()) & HELD_OUT_LEVELS


def test_unknown_and_held_out_families_are_refused() -> None:
    with pytest.raises(ValueError, match="no level table"):
        trained_levels(["chain_summ"])
    with pytest.raises(ValueError, match="held out"):
        trained_levels(["lcm"])


def test_distinct_estimate_is_right_for_a_known_set() -> None:
    rng = Random(0)
    draws = [str(rng.randrange(5000)) for _ in range(3000)]
    assert 4300 < distinct_estimate(draws) < 5800


@pytest.mark.parametrize(("family", "level"), ALL)
def test_five_thousand_distinct_questions(family: str, level: int) -> None:
    if family in SLOW:
        draws = [entry["question"] for entry in entries(family, level)]
    else:
        rng, source = Random(7), dataset(family, level)
        draws = [source[rng.getrandbits(60)]["question"] for _ in range(2500)]
    assert distinct_estimate(draws) >= 5000
