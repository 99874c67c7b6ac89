"""Walk 1: tree search with a value head, distilled from visit counts, through the ordinary seams."""

import asyncio
import math
from dataclasses import dataclass, field

import pytest

from journeyman.feedback import each
from journeyman.loop import train
from journeyman.protocols import declare, words
from journeyman.run import Learners, Misfit, Policies, Run
from journeyman.runner import Runner
from journeyman.testing import ListLearner, ScriptedPolicy
from journeyman.types import Answer, Lesson, Sampling, Targets, Task, Trace, user
from tests.walks.parts import once


@dataclass
class Node:
    """A prefix: the trace that reaches it, how often it was visited, the sum of values backed up."""

    trace: Trace | None
    parent: "Node | None" = None
    visits: int = 0
    total: float = 0.0
    children: list["Node"] = field(default_factory=list)


@dataclass(frozen=True)
class mcts:
    """PUCT over one-digit steps: select by Q + c sqrt(N) / (1 + n), expand by one sample, evaluate by the value head."""

    simulations: int = 12
    width: int = 3
    depth: int = 2
    c: float = 1.25
    needs = words("evaluate.value")
    gives = words("answer", "visits")

    async def __call__(self, question, policy):
        root = Node(None)
        for _ in range(self.simulations):
            node, depth = root, 0
            while depth < self.depth and len(node.children) >= self.width:
                node, depth = max(node.children, key=lambda n: self.score(n)), depth + 1
            if depth < self.depth:
                trace = await (
                    policy.sample(question.prompt, max_tokens=1) if node.trace is None else policy.extend(node.trace, max_tokens=1)
                )
                node.children.append(Node(trace, node))
                node = node.children[-1]
            value = (await policy.evaluate(node.trace.tokens))[-1]
            up = node
            while up is not None:
                up.visits, up.total, up = up.visits + 1, up.total + value, up.parent
        best = root
        while best.children:
            for child in best.children:
                policy.mark(child.trace, "visits", child.visits)
            best = max(best.children, key=lambda n: n.visits)
        return Answer(best.trace.text, best.trace.id)

    def score(self, n):
        return n.total / n.visits + self.c * math.sqrt(n.parent.visits) / (1 + n.visits)


@declare(needs=("score", "tokens", "visits"), gives=("lessons", "advantage", "targets", "term.search"))
def distill_visits(group, render):
    """One lesson for each expanded prefix: soft targets n(a) / n over the tokens tried, and the outcome for the value head."""
    lessons = []
    for attempt, score in zip(group.attempts, group.scores(), strict=True):
        tried: dict[str | None, list[Trace]] = {}
        for t in attempt.traces:
            if "visits" in t.marks:
                tried.setdefault(t.parent, []).append(t)
        for siblings in tried.values():
            total, first = sum(t.marks["visits"] for t in siblings), siblings[0]
            at, length = first.start, len(first.tokens)
            where = tuple(i == at for i in range(length))
            ids = tuple(tuple(t.tokens[at] for t in siblings) if w else () for w in where)
            weights = tuple(tuple(t.marks["visits"] / total for t in siblings) if w else () for w in where)
            outcome = tuple(score if w else 0.0 for w in where)
            lessons.append(
                Lesson(first.tokens, where, tuple(map(float, where)), term="search", targets={"visits": Targets(ids, weights)},
                       streams={"outcome": outcome}, attempt=attempt.id, group=group.id)
            )  # fmt: skip
    return lessons


def test_mcts_with_a_value_head_is_distilled_from_its_visits():
    policy = ScriptedPolicy(lambda text, rng: rng.choice("123"), value=lambda text: float(text[-1] == "3"))
    learner = ListLearner(needs=("targets", "term.search"))
    score = each(lambda task, answer: float(answer == task.answer))
    run = Run(
        Policies(policy=policy),
        Runner(mcts(), score, sampling=Sampling(max_tokens=1)),
        once([Task("t", user("digit?"), "3")]),
        distill_visits,
        Learners({"policy": learner}),
        last=1,
        batch=1,
    )
    asyncio.run(train(run))
    lessons = learner.lessons[0]
    roots = [x for x in lessons if x.tokens[:-1] == policy.render(user("digit?"))[0]]
    assert len(roots) == 1
    (at,) = [i for i, t in enumerate(roots[0].train) if t]
    weights = roots[0].targets["visits"].weights[at]
    assert len(weights) == 3
    assert math.isclose(sum(weights), 1.0)
    assert len(lessons) > 1, "prefixes below the root are lessons too"
    best = max(zip(weights, roots[0].targets["visits"].ids[at], strict=True))[1]
    values = {i: float(chr(i) == "3") for i in roots[0].targets["visits"].ids[at]}
    assert values[best] == max(values.values()), "the branch of highest value is visited most"


def test_a_policy_without_the_head_is_refused():
    policy = ScriptedPolicy(lambda text, rng: "1")
    policy.gives = words("tokens")
    run = Run(
        Policies(policy=policy),
        Runner(mcts(), each(lambda task, answer: 0.0)),
        once([Task("t", user("?"), "3")]),
        distill_visits,
        Learners({"policy": ListLearner()}),
        last=1,
        batch=1,
    )
    with pytest.raises(Misfit) as error:
        run.check()
    assert str(error.value) == (
        "strategy mcts needs 'evaluate.value', which nothing before it gives; write a policy with that head"
    )
