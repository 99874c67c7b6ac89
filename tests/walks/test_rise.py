"""Walk 2: multi-turn self-distillation (RISE, S122): retry with the truth, improve the last turn by best of n of the
policy itself, one weighted row for each turn."""

import asyncio
import math
from dataclasses import dataclass

import pytest

from journeyman.feedback import each
from journeyman.loop import train
from journeyman.protocols import words
from journeyman.run import Learners, Policies, Run
from journeyman.runner import Runner
from journeyman.scope import gather
from journeyman.testing import ListLearner, ScriptedPolicy, decode
from journeyman.types import Answer, Lesson, Task, user
from tests.walks.parts import once


@dataclass(frozen=True)
class improve:
    """A first try, then the best of n second tries at the state it reached."""

    n: int = 6
    again: str = "Wrong, try again."
    needs = words("oracle")
    gives = words("answer", "turn_score")

    async def __call__(self, question, policy, check):
        first = await policy.sample(question.prompt)
        score = (await check(Answer(first.text))).score
        policy.mark(first, "turn_score", score)
        if score == 1.0:
            return Answer(first.text, first.id)
        tries = await gather(policy.extend(first, turn=user(self.again), role="improver") for _ in range(self.n))
        scores = [(await check(Answer(t.text))).score for t in tries]
        best = max(range(self.n), key=lambda i: scores[i])
        policy.mark(tries[best], "turn_score", scores[best])
        return Answer(tries[best].text, tries[best].id)


@dataclass(frozen=True)
class reward_weighted_turns:
    """One row for each turn: all before it is context, weight exp(r / tau)."""

    tau: float = 0.4
    needs = words("tokens", "turn_score")
    gives = words("lessons", "advantage", "term.sft")

    def __call__(self, group, render):
        rows = []
        for attempt in group.attempts:
            for trace in attempt.lineage(attempt.answer.trace if attempt.answer else None):
                mine = tuple(s and i >= trace.start for i, s in enumerate(trace.sampled))
                weight = math.exp(trace.marks["turn_score"] / self.tau)
                ones = tuple(map(float, mine))
                rows.append(Lesson(trace.tokens, mine, ones, term="sft", weight=weight, group=group.id, attempt=attempt.id))
        return rows


def reply(conversation, rng):
    """Wrong at first, right one time in two after being told so."""
    return "right" if "try again" in conversation and rng.random() < 0.5 else "wrong"


def test_rise_learns_each_turn_with_its_weight():
    policy, learner = ScriptedPolicy(reply), ListLearner()
    run = Run(
        Policies(policy=policy),
        Runner(improve(), each(lambda task, answer: float(answer == task.answer)), seed=1),
        once([Task(str(i), user("?"), "right") for i in range(8)]),
        reward_weighted_turns(),
        Learners({"policy": learner}),
        last=1,
        batch=8,
    )
    asyncio.run(train(run))
    rows = learner.lessons[0]
    second = [x for x in rows if decode(x.tokens).count("assistant:") == 2]
    first = [x for x in rows if decode(x.tokens).count("assistant:") == 1]
    assert len(first) == 8
    assert len(second) == 8
    assert all(x.weight == 1.0 for x in first), "exp(0 / tau)"
    assert {round(x.weight, 4) for x in second} <= {12.1825, 1.0}
    assert sum(x.weight > 1 for x in second) >= 7, "best of 6 is right nearly always"
    trained = [decode([t for t, m in zip(x.tokens, x.train, strict=True) if m]) for x in second if x.weight > 1]
    assert set(trained) == {"right"}, "the first turn is context only"


@pytest.mark.parametrize(("reward", "weight"), [(1, 12.1825), (0, 1.0), (-1, 0.0821)])
def test_rise_card_weights(reward, weight):
    assert math.exp(reward / reward_weighted_turns().tau) == pytest.approx(weight, abs=5e-5)


def test_spent_tokens_include_the_tries_that_lost():
    policy = ScriptedPolicy(reply, parameters=10)
    runner = Runner(improve(n=6), each(lambda task, answer: float(answer == task.answer)))
    [group] = asyncio.run(runner.groups({"policy": policy}, once([Task("t", user("?"), "right")]).pick(1), "e"))
    [attempt] = group.attempts
    assert len(attempt.traces) == 7
    assert attempt.cost.calls == 7
    assert attempt.cost.sampled_tokens == sum(t.sampled_tokens for t in attempt.traces) >= 7 * 6
    assert attempt.cost.compute == 10 * (attempt.cost.sampled_tokens + attempt.cost.prompt_tokens)
