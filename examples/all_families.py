"""Expert iteration over every family of the base model at its frontier level (runs/all_families.md).

    journeyman run examples/all_families.py --eval-n 510 --eval-every 60 --out out/all_families

A recipe of one's own that changes two things of another: the expert draws its answers at a temperature of 0.6, and the learning
rate falls linearly to 0. Some two hours on one core.
"""

from dataclasses import replace

from journeyman.learners import Gradient, linear
from journeyman.recipes import expert_iteration
from journeyman.run import Learners, Run

TASKS = (
    "gym:chain_sum@3,products@3,leg_counting@3,simple_equations@3,gcd@3,fraction_simplification@2,base_conversion@2,"
    "count_bits@3,number_sorting@2,spell_backward@3,letter_counting@3,countdown@1,mini_sudoku@3,rotate_matrix@2,"
    "knights_knaves@3,calendar_arithmetic@3,time_intervals@3"
)


def recipe(
    policy: str = "base",
    tasks: str = TASKS,
    steps: int = 170,
    batch: int = 96,
    lr: float = 5e-4,
    temperature: float = 0.6,
    max_tokens: int = 448,
    seed: int = 0,
) -> Run:
    """Expert iteration with answers drawn at ``temperature``, learned at a rate that falls linearly to 0."""
    expert = f"sample(temperature={temperature})"
    run = expert_iteration(policy, tasks, expert, steps=steps, batch=batch, lr=lr, max_tokens=max_tokens, seed=seed)
    learner = run.learners["policy"]
    assert isinstance(learner, Gradient)
    decaying = replace(learner, schedule=linear(learner.updates * steps, 10))
    return replace(run, learners=Learners({"policy": decaying}))
