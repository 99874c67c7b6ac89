"""Expert iteration over every family of the base model at its frontier level (runs/all_families.md).

    journeyman run examples/all_families.py --eval-n 510 --eval-every 100 --out out/all_families

The exam is then over all that is practised; ``--eval-tasks`` with the text of ``journeyman.recipes.parts.EVERY_FRONTIER`` makes it
the frontier levels only.

A recipe of one's own that changes three things of another: the expert's temperature falls, the learning rate falls, and the five
families that the base hardly ever solves at their frontier are also practised one level below.
"""

from journeyman.recipes import expert_iteration
from journeyman.recipes.parts import EVERY_FRONTIER, falling
from journeyman.run import Run

BELOW = "leg_counting@2,simple_equations@2,fraction_simplification@1,mini_sudoku@2,knights_knaves@2"


def recipe(
    policy: str = "base",
    tasks: str = f"{EVERY_FRONTIER},{BELOW}",
    steps: int = 200,
    batch: int = 96,
    lr: float = 5e-4,
    temperature: float = 0.6,
    last_temperature: float = 0.25,
    max_tokens: int = 448,
    seed: int = 0,
) -> Run:
    """Expert iteration with answers drawn ever cooler, from ``temperature`` to ``last_temperature`` at 70 % of the steps, learned
    at a rate that falls linearly to 0."""
    expert = f"sample(temperature=ramp({temperature}, {last_temperature}, {max(1, round(0.7 * steps))}))"
    return falling(expert_iteration(policy, tasks, expert, steps=steps, batch=batch, lr=lr, max_tokens=max_tokens, seed=seed))
