"""``Run.check``: every refusal, word for word."""

from dataclasses import replace

import pytest

from journeyman.protocols import declare, words
from journeyman.run import Learners, Misfit, Policies, Run
from journeyman.runner import Runner
from journeyman.scope import Budget
from journeyman.strategies import best_of_n, sample, vote
from journeyman.testing import ListLearner, ScriptedPolicy, adds, sums
from journeyman.types import Sampling
from tests.walks.parts import once


@declare(needs=("answer",), gives=("score",))
async def scores(group):
    return []


@declare(needs=("answer",), gives=("critique",))
async def only_critique(group):
    return []


@declare(needs=("score", "siblings"), gives=("lessons", "advantage", "term.rl"))
def among_siblings(group, render):
    return []


def run(**changes):
    """A run that fits, with some of its fields changed."""
    fields = {
        "policies": Policies(policy=ScriptedPolicy(adds())),
        "runner": Runner(sample(), scores),
        "curriculum": once(sums(4), siblings=2),
        "credit": among_siblings,
        "learners": Learners({"policy": ListLearner(needs=("lessons", "advantage"))}),
    }
    return Run(**(fields | changes))


def test_what_fits_is_accepted():
    run().check()
    run(runner=Runner(vote(inner=best_of_n()), scores)).check()


@declare(gives=("lessons",))
def no_advantage(group, render):
    return []


class NeedsWorld:
    needs, gives = words("world"), words("answer")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, "batch is 0, expected at least 1"),
        ({"last": 0}, "steps is 0, expected at least 1"),
        ({"refills": -1}, "refills is -1, expected at least 0"),
        ({"runner": Runner(sample(), scores, window=0)}, "window is 0, expected at least 1"),
        ({"runner": Runner(sample(), scores, sampling=Sampling(max_tokens=0))}, "max_tokens is 0, expected at least 1"),
        ({"runner": Runner(sample(), scores, sampling=Sampling(temperature=-1))}, "temperature is -1, expected at least 0"),
        (
            {"runner": Runner(sample(), scores, sampling=Sampling(top_p=0))},
            "top_p is 0, expected a number above 0 and at most 1",
        ),
        ({"runner": Runner(sample(), scores, budget=Budget(tokens=0))}, "budget tokens is 0, expected at least 1"),
        ({"actions": [(0, None)]}, "the period of an action is 0, expected at least 1"),
        (
            {"runner": Runner(sample(), scores, actor="critic")},
            "the actor is 'critic', but the policies are ['policy']; name one of them",
        ),
        (
            {"learners": Learners({"critic": ListLearner()})},
            "a learner is named 'critic', but the policies are ['policy']; name one of them",
        ),
        (
            {"curriculum": once(sums(4), siblings=1)},
            "credit among_siblings needs 'siblings', which nothing before it gives; write siblings=8 (at least 2)",
        ),
        (
            {"runner": Runner(sample(), only_critique)},
            "credit among_siblings needs 'score', which nothing before it gives; "
            "write a feedback such as exact(), math_equal() or gym()",
        ),
        (
            {"credit": no_advantage},
            "learner of 'policy' ListLearner needs 'advantage', which nothing before it gives; "
            "write a credit such as group_zscore(), leave_one_out() or imitate_best()",
        ),
        (
            {"runner": Runner(NeedsWorld(), scores)},
            "strategy NeedsWorld needs 'world', which nothing before it gives; "
            "write tasks that have a world (a multi-turn environment)",
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(Misfit) as error:
        run(**changes).check()
    assert str(error.value) == message


def test_a_policy_without_tokens_is_refused_where_tokens_are_needed():
    policy = ScriptedPolicy(adds())
    policy.gives = words()
    credit = declare(needs=("score", "tokens"), gives=("lessons", "advantage"))(lambda group, render: [])
    with pytest.raises(Misfit, match=r"write a policy with token ids \(not a text-only endpoint\)$"):
        run(policies=Policies(policy=policy), credit=credit).check()


def test_a_capability_inside_a_nested_strategy_is_seen():
    inner = replace(best_of_n(), inner=sample())
    runner = Runner(vote(n=2, inner=inner), scores)
    run(runner=runner).check()
    from journeyman.runner import all_needs

    assert all_needs(runner.strategy) == words("oracle")
