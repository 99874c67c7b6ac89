"""Walk 3: Auto-CEI (S000): a refusal is paid by the depth of reasoning before it, the midpoint c1 moves between rounds,
and the start is a stage of its own."""

import asyncio
import math
from dataclasses import dataclass, field

import pytest

from journeyman.feedback import each
from journeyman.loop import train
from journeyman.protocols import Schedule, value, words
from journeyman.run import Learners, Policies, Run
from journeyman.runner import Runner
from journeyman.testing import ListLearner, ScriptedPolicy
from journeyman.types import Judgement, Lesson, Task, user
from tests.walks.parts import once

SORRY = "sorry, not sure"


class Climb:
    """c1 goes up by ``step`` while f = (1 - lam) * precision + lam * (1 - refusal rate) improves, else turns round."""

    def __init__(self, start=6.4472, step=0.4472, lam=0.2):
        self.c1, self.step, self.lam, self.best = start, step, lam, -math.inf

    def observe(self, groups):
        judged = [j for g in groups for j in g.judgements]
        answered = [j for j in judged if not j.components["refused"]]
        right = sum(j.components["right"] for j in answered)
        precision = right / len(answered) if answered else 0.0
        f = (1 - self.lam) * precision + self.lam * len(answered) / len(judged)
        if f <= self.best:
            self.step = -self.step
        self.best = max(self.best, f)
        self.c1 += self.step

    def value(self):
        return self.c1

    def state_dict(self):
        return {"c1": self.c1, "step": self.step, "best": self.best}

    def load_state_dict(self, state):
        self.c1, self.step, self.best = state["c1"], state["step"], state["best"]


@dataclass(frozen=True)
class depth_paid:
    """r = 1 right, -1 wrong, and 2 / (1 + exp(-c2 (d - c1))) - 1 for a refusal after d steps."""

    c1: float | Schedule = field(default_factory=Climb)
    c2: float = 0.25744
    needs = words("answer")
    gives = words("score")

    def refusal(self, d):
        return 2 / (1 + math.exp(-self.c2 * (d - value(self.c1)))) - 1

    async def __call__(self, group):
        out = []
        for a in group.attempts:
            lines = a.answer.text.split("\n")
            refused, right = lines[-1] == SORRY, lines[-1] == group.task.answer
            score = self.refusal(len(lines) - 1) if refused else (1.0 if right else -1.0)
            out.append(Judgement(a.id, score, components={"refused": float(refused), "right": float(right)}))
        return out


@dataclass(frozen=True)
class tilt:
    """Each attempt with r > -1, weighted by p_j ~ exp(r_j / tau) over its siblings."""

    tau: float = 0.8
    needs = words("score")
    gives = words("lessons", "advantage", "term.sft")

    def weights(self, scores):
        e = [math.exp(r / self.tau) for r in scores]
        return [x / sum(e) for x in e]

    def __call__(self, group, render):
        lessons = []
        for a, r, p in zip(group.attempts, group.scores(), self.weights(group.scores()), strict=True):
            if r > -1:
                tokens, train = render([*group.task.prompt, {"role": "assistant", "content": a.answer.text}])
                lessons.append(Lesson(tokens, train, tuple(map(float, train)), term="sft", weight=p, group=group.id))
        return lessons


def append_sorry(group, render):
    """R-Tuning: a wrong answer is followed by the refusal."""
    lessons = []
    for a, right in zip(group.attempts, group.scores(), strict=True):
        text = a.answer.text if right else f"{a.answer.text}\n{SORRY}"
        tokens, train = render([*group.task.prompt, {"role": "assistant", "content": text}])
        lessons.append(Lesson(tokens, train, tuple(map(float, train)), term="sft", group=group.id, attempt=a.id))
    return lessons


append_sorry.needs, append_sorry.gives = words("score"), words("lessons", "advantage", "term.sft")


def stages(policy, learner):
    """The recipe: a list of runs on the same policy and learner."""
    tasks = once([Task(str(i), user("depth?"), "right") for i in range(4)], siblings=4)
    right = each(lambda task, answer: float(answer.endswith("right")))
    both = {"policies": Policies(policy=policy), "learners": Learners({"policy": learner}), "curriculum": tasks, "batch": 4}
    from journeyman.strategies import sample

    start = Run(runner=Runner(sample(), right, seed=1), credit=append_sorry, last=1, **both)
    climb = Run(runner=Runner(sample(), depth_paid(), seed=2), credit=tilt(), last=3, **both)
    return [start, climb]


def reply(conversation, rng):
    steps = "\n".join("step" for _ in range(rng.choice([2, 6, 12])))
    return f"{steps}\n{rng.choice(['right', 'wrong', SORRY])}"


def test_auto_cei_walks_through_the_seams():
    policy, learner = ScriptedPolicy(reply), ListLearner()
    start, climb = stages(policy, learner)
    asyncio.run(train(start))
    assert any(SORRY.encode() in bytes(x.tokens) for x in learner.lessons[0]), "the start teaches to refuse"
    schedule = climb.runner.feedback.c1
    assert climb.schedules() == {"schedule0": schedule}, "found in the part's field, nobody registered it"
    before, paid = schedule.value(), climb.runner.feedback.refusal(6)
    asyncio.run(train(climb))
    assert schedule.value() != before
    assert climb.runner.feedback.refusal(6) != paid, "the moved midpoint is what the feedback pays by"
    assert policy.version == 4
    state = schedule.state_dict()
    fresh = Climb()
    fresh.load_state_dict(state)
    assert fresh.value() == schedule.value()


def test_auto_cei_card_numbers():
    paid = depth_paid(c1=6.4472)
    got = [paid.refusal(d) for d in (2, 6, 6.4472, 12)]
    assert got == pytest.approx([-0.5171, -0.0575, 0.0, 0.6136], abs=1e-4)
    weights = tilt().weights([1, -1, paid.refusal(12), paid.refusal(2)])
    assert weights == pytest.approx([0.5408, 0.0444, 0.3336, 0.0812], abs=5e-5)
