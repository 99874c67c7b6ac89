"""The runner: recording, identity of calls, budgets, capabilities, failures as values."""

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass

import pytest

from journeyman.feedback import each
from journeyman.protocols import words
from journeyman.runner import Runner, use
from journeyman.scope import Budget, BudgetSpent, as_done, budget, gather, report
from journeyman.strategies import best_of_n, rationalize, retry, retry_until_right, sample, vote
from journeyman.testing import ScriptedPolicy, adds, failing, sums
from journeyman.types import Answer, Assignment, Sampling, Task, user

right = each(lambda task, answer: float(answer == task.answer))


def attempts(strategy, policies, tasks=None, **settings):
    """Every attempt of a strategy on toy tasks."""
    tasks = tasks or sums(6)
    policies = policies if isinstance(policies, dict) else {"policy": policies}
    groups = asyncio.run(Runner(strategy, right, **settings).groups(policies, [Assignment(t, 2) for t in tasks], "e"))
    return [a for g in groups for a in g.attempts]


def plain(attempts):
    return [(a.id, a.answer, a.error, [(t.id, t.text) for t in a.traces]) for a in attempts]


@pytest.mark.parametrize(
    "strategy",
    [sample(), vote(n=5), best_of_n(n=3, inner=vote(n=2)), retry(turns=3), rationalize(), retry_until_right(turns=4)],
    ids=lambda s: type(s).__name__,
)
def test_same_seed_same_answers_whatever_finishes_first(strategy):
    shuffle = random.Random(5)
    slow = ScriptedPolicy(adds(wrong=0.5), delay=lambda: shuffle.random() / 200)
    quick = ScriptedPolicy(adds(wrong=0.5))
    assert plain(attempts(strategy, slow, seed=7)) == plain(attempts(strategy, quick, seed=7, window=1))
    assert plain(attempts(strategy, quick, seed=7)) != plain(attempts(strategy, quick, seed=8))


def test_siblings_and_branches_draw_differently():
    texts = defaultdict(set)
    for a in attempts(vote(n=8), ScriptedPolicy(lambda text, rng: str(rng.random()))):
        texts[a.task] |= {t.text for t in a.traces}
    assert all(len(t) == 16 for t in texts.values())


def test_every_trace_is_recorded_and_paid():
    policy = ScriptedPolicy(adds(), parameters=7)
    for a in attempts(vote(n=4), policy):
        assert len(a.traces) == a.cost.calls == 4
        assert [t.id for t in a.traces] == [f"{a.id}:0.{i}.0" for i in range(4)]
        assert a.cost.compute == 7 * sum(t.prompt_tokens + t.sampled_tokens for t in a.traces)
        assert len(a.answer.candidates) == 4
        assert a.answer.confidence == 1.0


def test_paths_are_sorted_as_numbers():
    [a, *_] = attempts(vote(n=12), ScriptedPolicy(adds()))
    assert [t.id.split(":")[1] for t in a.traces] == [f"0.{i}.0" for i in range(12)]


@dataclass(frozen=True)
class critic_refine:
    """Solve, let a critic look, solve again."""

    critic: object
    needs = words()
    gives = words("answer")

    async def __call__(self, question, policy):
        first = await policy.sample(question.prompt)
        note = await self.critic.sample(user(f"check {first.text}="), role="critic")
        self.critic.mark(note, "liked", True)
        second = await policy.extend(first, turn=user(note.text + " 1+1="))
        return Answer(second.text, second.id)


@pytest.mark.parametrize("by_name", [True, False])
def test_a_critic_is_recorded_and_charged_on_the_same_budget(by_name):
    critic = ScriptedPolicy(lambda text, rng: "hm", name="critic", parameters=1000)
    policies = {"policy": ScriptedPolicy(adds()), "critic": critic}
    strategy = vote(n=2, inner=critic_refine(use("critic") if by_name else critic))
    for a in attempts(strategy, policies):
        assert a.error is None
        assert sorted(t.role for t in a.traces) == ["critic"] * 2 + ["solver"] * 4
        assert [t.marks for t in a.traces if t.role == "critic"] == [{"liked": True}] * 2
        assert a.cost.compute > 1000 * 2 * 3
        assert a.cost.calls == 6


def test_extend_keeps_ids_and_inherits_what_was_sampled():
    policy = ScriptedPolicy(adds())
    for a in attempts(retry(turns=3), policy, tasks=[Task("t", user("1+2="), "3")]):
        first, second, third = a.traces
        assert third.tokens[: len(second.tokens)] == second.tokens
        assert second.parent == first.id
        assert sum(third.sampled) == sum(t.sampled_tokens for t in a.traces)
        assert third.start == len(third.tokens) - third.sampled_tokens
        assert all(third.sampled[third.start :])
        assert [t.id for t in a.lineage(third.id)] == [first.id, second.id, third.id]


# ------------------------------------------------------------------------------------------ budgets


def test_a_call_budget_stops_before_the_call():
    policy = ScriptedPolicy(adds())
    for a in attempts(retry(turns=9), policy, budget=Budget(calls=4)):
        assert a.cost.calls == 4
        assert a.answer is not None, "the last reported answer"
        assert a.error is None


def test_a_budget_spent_with_nothing_reported_is_an_error_value():
    policy = ScriptedPolicy(lambda text, rng: "x" * 50)

    @dataclass(frozen=True)
    class two:
        needs = words()
        gives = words("answer")

        async def __call__(self, question, policy):
            await policy.sample(question.prompt)
            await policy.sample(question.prompt)

    for a in attempts(two(), policy, budget=Budget(tokens=20)):
        assert a.answer is None
        assert a.error.startswith("BudgetSpent: ")


def test_a_token_budget_caps_the_length_of_a_call():
    for a in attempts(sample(), ScriptedPolicy(lambda text, rng: "x" * 500), budget=Budget(tokens=9)):
        assert a.traces[0].sampled_tokens == 9
        assert a.traces[0].stop_reason == "length"


def test_budgets_nest_and_the_inner_one_does_not_leak():
    seen = []

    @dataclass(frozen=True)
    class nested_budgets:
        needs = words()
        gives = words("answer")

        async def __call__(self, question, policy):
            with budget(calls=2) as inner:
                for _ in range(5):
                    try:
                        last = await policy.sample(question.prompt)
                    except BudgetSpent:
                        seen.append(inner.calls)
                        break
            last = await policy.sample(question.prompt)
            return Answer(last.text, last.id)

    for a in attempts(nested_budgets(), ScriptedPolicy(adds()), budget=Budget(calls=4)):
        assert a.cost.calls == 3
        assert a.error is None
    assert set(seen) == {2}


def test_seconds_end_a_hung_attempt():
    policy = ScriptedPolicy(adds(), delay=30)
    for a in attempts(sample(), policy, tasks=sums(1), budget=Budget(seconds=0.05)):
        assert a.error == "timed out after 0.05 s"
        assert a.traces[0].stop_reason == "cancelled"


# ------------------------------------------------------------------------------------------ failures


def test_an_exception_is_data_and_others_go_on():
    @dataclass(frozen=True)
    class sometimes:
        needs = words()
        gives = words("answer")

        async def __call__(self, question, policy):
            return await (failing("boom") if question.level else sample())(question, policy)

    made = attempts(sometimes(), ScriptedPolicy(adds()), tasks=sums(20))
    broken = [a for a in made if a.error]
    assert {a.error for a in broken} == {"RuntimeError: boom"}
    assert 0 < len(broken) < len(made) == 40


def test_a_failed_call_loses_one_candidate_only():
    def reply(text, rng):
        if rng.random() < 0.4:
            raise OSError("gone")
        return adds()(text, rng)

    made = attempts(vote(n=8), ScriptedPolicy(reply), tasks=sums(5), seed=3)
    lost = [t for a in made for t in a.traces if t.stop_reason == "error"]
    assert lost
    assert lost[0].marks["error"] == "OSError('gone')"
    for a in made:
        assert a.error is None
        assert len(a.answer.candidates) == sum(t.stop_reason == "end" for t in a.traces) < 9


def test_a_strategy_that_returns_nonsense_is_named():
    @dataclass(frozen=True)
    class nonsense:
        needs = words()
        gives = words("answer")

        async def __call__(self, question, policy):
            return "42"

    assert {a.error for a in attempts(nonsense(), ScriptedPolicy(adds()))} == {"the strategy returned str, expected an Answer"}


def test_a_feedback_that_raises_fails_the_judgements_not_the_step():
    async def broken(group):
        raise ConnectionError("judge is down")

    broken.needs, broken.gives = words("answer"), words("score")
    [group] = asyncio.run(Runner(sample(), broken).groups({"policy": ScriptedPolicy(adds())}, [Assignment(sums(1)[0], 3)], "e"))
    assert [j.status for j in group.judgements] == ["failed"] * 3
    assert group.scores() == (None, None, None)
    assert group.judgements[0].evidence == "ConnectionError: judge is down"


# ------------------------------------------------------------------------------------------ capabilities


def test_no_strategy_sees_the_answer():
    @dataclass(frozen=True)
    class peeks:
        needs = words()
        gives = words("answer")

        async def __call__(self, question, policy):
            return Answer(str(question.answer))

    assert all(a.error.startswith("AttributeError") for a in attempts(peeks(), ScriptedPolicy(adds())))


def test_only_an_oracle_is_given_the_check():
    made = attempts(best_of_n(n=12), ScriptedPolicy(adds(wrong=0.5)), tasks=[Task("t", user("2+2="), "4")])
    assert {a.answer.text for a in made} == {"4"}

    @dataclass(frozen=True)
    class greedy_for_truth:
        needs = words()
        gives = words("answer")

        async def __call__(self, question, policy, check):
            return Answer("")

    assert all(
        "missing 1 required positional argument: 'check'" in a.error for a in attempts(greedy_for_truth(), ScriptedPolicy(adds()))
    )


def test_a_world_is_made_for_each_run_of_the_strategy():
    made = []

    class Counter:
        def __init__(self, task):
            self.state, self.goal = 0, int(task.answer)
            made.append(self)

        async def step(self, action):
            self.state += int(action)
            return f"at {self.state} of {self.goal}", self.state >= self.goal

    @dataclass(frozen=True)
    class agent:
        needs = words("world")
        gives = words("answer")

        async def __call__(self, question, policy, world):
            trace, over = await policy.sample(question.prompt), False
            while not over:
                seen, over = await world.step("1")
                trace = await policy.extend(trace, turn=user(seen))
            return Answer(str(world.state), trace.id)

    tasks = [Task("t", user("go"), "3")]
    for a in attempts(vote(n=2, inner=agent()), ScriptedPolicy(lambda text, rng: "1"), tasks=tasks, world=Counter):
        assert a.answer.text == "3"
        assert a.error is None
    assert len(made) == 4, "two attempts of two branches, each in a world of its own"


# ------------------------------------------------------------------------------------------ concurrency


def test_leaving_as_done_cancels_the_rest():
    @dataclass(frozen=True)
    class first_two:
        needs = words()
        gives = words("answer")

        async def __call__(self, question, policy):
            done = []
            async for _i, trace in as_done(policy.sample(question.prompt) for _ in range(6)):
                done.append(trace)
                report(Answer(trace.text, trace.id))
                if len(done) == 2:
                    break
            await asyncio.sleep(0.01)
            return Answer(done[0].text, done[0].id)

    waits = iter([0.0, 0.0] + [9.0] * 10)
    [a] = attempts(first_two(), ScriptedPolicy(adds(), delay=lambda: next(waits)), tasks=sums(1))[:1]
    assert a.error is None


def test_strict_gather_raises_and_tolerant_raises_only_if_all_fail():
    async def bad():
        raise ValueError("no")

    async def good():
        return 1

    @dataclass(frozen=True)
    class both:
        strict: bool
        good: int
        needs = words()
        gives = words("answer")

        async def __call__(self, question, policy):
            kept = await gather([bad(), *(good() for _ in range(self.good)), bad()], strict=self.strict)
            return Answer(str(kept))

    policy = ScriptedPolicy(adds())
    assert attempts(both(False, 2), policy)[0].answer.text == "[1, 1]"
    assert attempts(both(False, 0), policy)[0].error == "ValueError: no"
    assert attempts(both(True, 2), policy)[0].error == "ValueError: no"


def test_the_window_bounds_live_attempts():
    live, most = 0, 0

    @dataclass(frozen=True)
    class counted:
        needs = words()
        gives = words("answer")

        async def __call__(self, question, policy):
            nonlocal live, most
            live += 1
            most = max(most, live)
            await asyncio.sleep(0.001)
            live -= 1
            return Answer("")

    attempts(counted(), ScriptedPolicy(adds()), tasks=sums(50), window=8)
    assert most == 8


def test_knobs_of_the_assignment_set_sampling():
    groups = asyncio.run(
        Runner(sample(), right, sampling=Sampling(max_tokens=30)).groups(
            {"policy": ScriptedPolicy(adds())}, [Assignment(sums(1)[0], 1, {"temperature": 0.3, "c1": 2.0})], "e"
        )
    )
    assert groups[0].attempts[0].traces[0].sampling == Sampling(max_tokens=30, temperature=0.3)
