"""Expert iteration whose expert searches: wrong steps are found by exact checkers and drawn anew (runs/all_families.md).

    journeyman run examples/searched.py --eval-n 510 --out out/searched

Where right answers have wrong work in them, to imitate them teaches the wrong work; what is imitated here has none. The expert is
told where its first wrong step is, which the model is not in any exam. The exam is over all that is practised; ``--eval-tasks``
with the text of ``journeyman.recipes.parts.EVERY_FRONTIER`` makes it the frontier levels only.
"""

from journeyman.recipes import expert_iteration
from journeyman.recipes.parts import EVERY_FRONTIER, falling
from journeyman.run import Run
from journeyman.strategies import backtracking

# one level below, where the search succeeds more often
BELOW = "leg_counting@2,simple_equations@2,gcd@1,fraction_simplification@1,letter_counting@2,mini_sudoku@2,knights_knaves@2"


def recipe(
    policy: str = "base",
    tasks: str = f"{EVERY_FRONTIER},{BELOW}",
    steps: int = 420,
    batch: int = 128,
    siblings: int = 1,
    tries: int = 8,
    temperature: float = 1.0,
    lr: float = 5e-4,
    max_tokens: int = 448,
    seed: int = 0,
) -> Run:
    """Expert iteration with ``backtracking`` by exact step checkers: answers are drawn at ``temperature`` and their wrong steps
    anew at 1; the learning rate falls linearly to 0."""
    run = expert_iteration(
        policy,
        tasks,
        backtracking(tries=tries, temperature=temperature),
        steps=steps,
        batch=batch,
        siblings=siblings,
        lr=lr,
        max_tokens=max_tokens,
        seed=seed,
    )
    return falling(run)
