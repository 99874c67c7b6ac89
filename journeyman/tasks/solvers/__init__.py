"""Exact solvers with step-by-step work and step checkers, one for each family of ``journeyman.tasks.levels``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from journeyman.tasks.solvers.arithmetic import chain_sum, leg_counting, products
from journeyman.tasks.solvers.bases import base_conversion, count_bits
from journeyman.tasks.solvers.countdown import countdown
from journeyman.tasks.solvers.dates import calendar_arithmetic, time_intervals
from journeyman.tasks.solvers.divisors import fraction_simplification, gcd, lcm
from journeyman.tasks.solvers.equations import simple_equations
from journeyman.tasks.solvers.knights import knights_knaves
from journeyman.tasks.solvers.matrix import rotate_matrix
from journeyman.tasks.solvers.sorting import number_filtering, number_sorting
from journeyman.tasks.solvers.steps import Solver, answer_of, split_steps
from journeyman.tasks.solvers.strings import letter_counting, spell_backward, word_sequence_reversal
from journeyman.tasks.solvers.sudoku import mini_sudoku

SOLVERS: Mapping[str, Solver] = MappingProxyType(
    {
        "base_conversion": base_conversion,
        "calendar_arithmetic": calendar_arithmetic,
        "chain_sum": chain_sum,
        "count_bits": count_bits,
        "countdown": countdown,
        "fraction_simplification": fraction_simplification,
        "gcd": gcd,
        "knights_knaves": knights_knaves,
        "lcm": lcm,
        "leg_counting": leg_counting,
        "letter_counting": letter_counting,
        "mini_sudoku": mini_sudoku,
        "number_filtering": number_filtering,
        "number_sorting": number_sorting,
        "products": products,
        "rotate_matrix": rotate_matrix,
        "simple_equations": simple_equations,
        "spell_backward": spell_backward,
        "time_intervals": time_intervals,
        "word_sequence_reversal": word_sequence_reversal,
    }
)

__all__ = ["SOLVERS", "Solver", "answer_of", "split_steps"]
