"""The recipes in examples/ do what they say."""

from pathlib import Path

import pytest

from journeyman import recipes, strategies
from journeyman.assemble import find_recipe
from journeyman.protocols import value
from journeyman.recipes.parts import falling

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_all_families_cools_its_expert_and_its_learning_rate():
    run = find_recipe(str(EXAMPLES / "all_families.py"))(steps=10)
    warmth = []
    for _ in range(11):
        run.observe([])
        warmth.append(value(run.runner.strategy.temperature))
    assert warmth[0] == pytest.approx(0.6)
    assert warmth[3] == pytest.approx(0.45)
    assert warmth[7:] == pytest.approx([0.25] * 4)
    learner = run.learners["policy"]
    assert [learner.schedule(step) for step in (10, 15, 20)] == pytest.approx([1, 0.5, 0])


def test_all_families_can_be_tried_with_a_single_step():
    assert find_recipe(str(EXAMPLES / "all_families.py"))(steps=1).last == 1


@pytest.mark.parametrize("of", ["grpo", "gspo", "cispo"])
def test_mini_batches_change_the_number_of_optimiser_steps_and_nothing_else(of):
    run, plain = find_recipe(str(EXAMPLES / "mini_batches.py"))(of, updates=4), getattr(recipes, of)()
    mine, theirs = run.learners["policy"], plain.learners["policy"]
    assert mine.updates == 4
    assert (mine.objective, mine.lr, mine.betas, mine.epochs) == (theirs.objective, theirs.lr, theirs.betas, theirs.epochs)
    assert (run.batch, run.credit, run.runner.sampling) == (plain.batch, plain.credit, plain.runner.sampling)


@pytest.mark.parametrize("of", ["grrpo", "parts", "ppo"])
def test_mini_batches_refuse_what_is_no_recipe_or_learns_otherwise(of):
    with pytest.raises(ValueError, match="expected"):
        find_recipe(str(EXAMPLES / "mini_batches.py"))(of)


def test_searched_draws_wrong_steps_anew_and_lets_its_learning_rate_fall():
    run = find_recipe(str(EXAMPLES / "searched.py"))(steps=50, tries=3)
    assert isinstance(run.runner.strategy, strategies.backtracking)
    assert (run.runner.strategy.tries, run.batch, run.curriculum.siblings) == (3, 128, 1)
    assert [run.learners["policy"].schedule(step) for step in (10, 55, 100)] == pytest.approx([1, 0.5, 0])


def test_a_rate_falls_only_where_the_optimiser_steps_are_known():
    with pytest.raises(ValueError, match="actor_critic, expected Gradient"):
        falling(recipes.ppo())
