"""Walk 5: an asynchronous loop: sampling goes on while the learner updates, and one trace holds tokens of several versions."""

import asyncio
from dataclasses import replace

from journeyman.feedback import each
from journeyman.protocols import words
from journeyman.run import Learners, Policies, Run
from journeyman.runner import Runner
from journeyman.strategies import sample
from journeyman.testing import ListLearner, ScriptedPolicy, sums
from journeyman.types import Lesson
from tests.walks.parts import once


class InFlight(ScriptedPolicy):
    """Draws token by token and gives way between them, so that an update can fall inside a trace."""

    async def _draw(self, blank, before, sampled, start, seed, parent=None):
        trace = await super()._draw(blank, before, sampled, start, seed, parent)
        versions = list(trace.version)
        for i in range(start, len(versions)):
            if trace.sampled[i]:
                await asyncio.sleep(0)
                versions[i] = self.version
        return replace(trace, version=tuple(versions))


def staleness(group, render):
    """One lesson for each attempt, weighted down by how many versions lie inside its trace."""
    lessons = []
    for a in group.attempts:
        t = a.traces[0]
        drawn = [v for v in t.version if v >= 0]
        ones = tuple(map(float, t.sampled))
        streams = {"version": tuple(map(float, t.version))}
        weight = 1 / (1 + max(drawn) - min(drawn))
        lessons.append(Lesson(t.tokens, t.sampled, ones, behaviour_logp=t.logp, streams=streams, weight=weight, attempt=a.id))
    return lessons


staleness.needs, staleness.gives = words("tokens"), words("lessons", "advantage", "behaviour_logp")


async def train_async(run, ahead=2):
    """A loop of another shape: ``ahead`` batches are always being sampled, and each is learned as it is ready. It samples from
    the policies themselves, not from a snapshot, so that weights change in flight."""
    run.check()
    ready: asyncio.Queue = asyncio.Queue()

    async def actor(step):
        groups = await run.runner.groups(run.policies, run.curriculum.pick(run.batch), str(step), memory=run.memory)
        await ready.put((step, groups))

    steps = run.steps()
    async with asyncio.TaskGroup() as pool:
        flying = 0
        for step in steps:
            pool.create_task(actor(step))
            flying += 1
            if flying == ahead:
                await learn(run, *await ready.get())
                flying -= 1
        for _ in range(flying):
            await learn(run, *await ready.get())


async def learn(run, step, groups):
    run.observe(groups)
    lessons = [x for g in groups for x in run.credit(run.fill(g), run.render)]
    await run.every(step, groups, run.learners.update(run.policies, lessons))


def test_versions_change_inside_a_trace_and_credit_sees_it():
    policy = InFlight(lambda text, rng: "x" * rng.randint(1, 40))
    learner = ListLearner()
    run = Run(
        Policies(policy=policy),
        Runner(sample(), each(lambda task, answer: 1.0)),
        once(sums(8)),
        staleness,
        Learners({"policy": learner}),
        last=6,
        batch=8,
    )
    asyncio.run(train_async(run))
    assert policy.version == 6
    lessons = [x for step in learner.lessons for x in step]
    assert len(lessons) == 48
    assert len({x.attempt for x in lessons}) == 48, "every attempt is learned once"
    mixed = [x for x in lessons if x.weight < 1]
    assert mixed, "no update fell inside a trace"
    for x in mixed:
        drawn = [v for v, t in zip(x.streams["version"], x.train, strict=True) if t]
        assert drawn == sorted(drawn), "versions only grow along a trace"
