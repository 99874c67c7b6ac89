"""Scripted policies that write answers of a given length, whatever part of them is written already."""

import asyncio
from dataclasses import replace

from journeyman.feedback import each
from journeyman.runner import Runner
from journeyman.testing import ScriptedPolicy
from journeyman.types import Assignment, Sampling, Task, user

TASK = Task("t", user("write"), "a")


def said(conversation):
    """What the assistant has written so far."""
    return conversation.rsplit("assistant: ", 1)[1]


def writes(letters, length, **kw):
    """A policy that goes on with random ones of these letters until there are ``length``."""
    return ScriptedPolicy(lambda text, rng: "".join(rng.choice(letters) for _ in range(length - len(said(text)))), **kw)


def share_of(letter):
    """The share of an answer's letters that are this one."""
    return each(lambda task, text: text.count(letter) / max(1, len(text)))


def groups(strategy, policies, siblings=1, feedback=None, sampling=Sampling(32), seed=0, tasks=(TASK,)):  # noqa: B008 (frozen)
    """The groups that a strategy makes of these tasks."""
    runner = Runner(strategy, feedback or share_of("a"), sampling=sampling, seed=seed)
    found = asyncio.run(runner.groups(policies, [Assignment(t, siblings) for t in tasks], "g"))
    for a in (a for g in found for a in g.attempts):
        assert a.error is None, a.error
    return found


def timeless(attempts):
    """The attempts without what a clock says of them."""
    return [replace(a, cost=replace(a.cost, seconds=0.0)) for a in attempts]
