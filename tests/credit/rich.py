"""Groups whose traces carry entropies, whose tasks have solutions, and whose judgements have components."""

from dataclasses import replace

from tests.credit.groups import group_of


def rich(group, entropy=None, solution="done"):
    """The group with an entropy at each token (of the token alone, or those given for each attempt), a worked solution, and
    two components of each checked judgement."""
    attempts = []
    for i, a in enumerate(group.attempts):
        traces = [
            replace(t, streams={"entropy": tuple(entropy[i]) if entropy else tuple(0.05 + x % 7 / 7 for x in t.tokens)})
            for t in a.traces
        ]
        attempts.append(replace(a, traces=tuple(traces)))
    judgements = [
        replace(j, components={"first": j.score, "second": j.score**2 - 0.3}) if j.score is not None else j
        for j in group.judgements
    ]
    task = replace(group.task, solution=solution)
    assignment = replace(group.assignment, task=task)
    return replace(group, assignment=assignment, attempts=tuple(attempts), judgements=tuple(judgements))


def rich_group_of(*args, **kw):
    return rich(group_of(*args, **kw))
