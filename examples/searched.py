"""Expert iteration whose expert searches: wrong steps are found by exact checkers and drawn anew (runs/all_families.md).

    journeyman run examples/searched.py --eval-n 510 --out out/searched

Where right answers have wrong work in them, to imitate them teaches the wrong work; here what is imitated has none. The expert is
told where its first wrong step is, which the model is not in any exam.
"""

from dataclasses import replace
from functools import partial

from journeyman.feedback.critics import by_solver
from journeyman.learners import Gradient, linear
from journeyman.recipes import expert_iteration
from journeyman.recipes.critics import text_of
from journeyman.recipes.parts import policies_of
from journeyman.run import Learners, Run
from journeyman.strategies import backtracking

FRONTIER = (
    "gym:chain_sum@3,products@3,leg_counting@3,simple_equations@3,gcd@3,fraction_simplification@2,base_conversion@2,"
    "count_bits@3,number_sorting@2,spell_backward@3,letter_counting@3,countdown@1,mini_sudoku@3,rotate_matrix@2,"
    "knights_knaves@3,calendar_arithmetic@3,time_intervals@3"
)


def recipe(
    policy: str = "base",
    tasks: str = FRONTIER,
    steps: int = 200,
    batch: int = 128,
    siblings: int = 1,
    tries: int = 8,
    lr: float = 5e-4,
    max_tokens: int = 448,
    seed: int = 0,
) -> Run:
    """Expert iteration with ``backtracking`` by exact step checkers, at a learning rate that falls linearly to 0."""
    policies = policies_of(policy, seed)
    expert = backtracking(partial(text_of, policies["policy"]), by_solver(), tries)
    run = expert_iteration(
        policies["policy"], tasks, expert, steps=steps, batch=batch, siblings=siblings, lr=lr, max_tokens=max_tokens, seed=seed
    )
    learner = run.learners["policy"]
    assert isinstance(learner, Gradient)
    updates = learner.updates * steps
    return replace(run, learners=Learners({"policy": replace(learner, schedule=linear(updates, min(10, updates // 2)))}))
