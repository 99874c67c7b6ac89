"""What every curriculum in ``curricula.__all__`` promises."""

import json

import pytest

from journeyman import curricula
from journeyman.curricula import learnable, levels, uniform, with_branches
from journeyman.protocols import Part, Stateful
from journeyman.types import Assignment, Attempt, Group, Judgement, Task, user

TASKS = [Task(str(i), user(str(i)), level=i % 3) for i in range(12)]
MAKE = {
    "uniform": lambda seed=0: uniform(TASKS, siblings=4, seed=seed),
    "levels": lambda seed=0: levels(TASKS, siblings=4, up=0.5, window=3, easier=0.5, seed=seed),
    "learnable": lambda seed=0: learnable(levels(TASKS, siblings=4, up=0.5, window=3, easier=0.5, seed=seed)),
    "with_branches": lambda seed=0: with_branches(uniform(TASKS, siblings=4, seed=seed)),
}
every = pytest.mark.parametrize("name", MAKE)


def judged(assignment, step):
    """A group with a share of right answers that depends on the step alone."""
    attempts = tuple(Attempt(f"{step}/{i}", assignment.task.id, None) for i in range(assignment.siblings))
    judgements = tuple(Judgement(a.id, float(i <= step % 4)) for i, a in enumerate(attempts))
    return Group(str(step), assignment, attempts, judgements)


def walk(curriculum, steps):
    """What it hands out and admits over some steps."""
    found = []
    for step in steps:
        picked = curriculum.pick(5)
        groups = [judged(a, step) for a in picked]
        curriculum.observe(groups)
        found.append(([a.task.id for a in picked], [curriculum.admit(g) for g in groups]))
    return found


def test_every_part_is_here():
    assert set(MAKE) == set(curricula.__all__)


@every
def test_it_is_a_part_with_a_state(name):
    made = MAKE[name]()
    assert isinstance(made, Part)
    assert isinstance(made, Stateful)
    assert made.gives == {"siblings"}


@every
def test_it_hands_out_as_many_as_asked(name):
    for n in (0, 1, 30):
        picked = MAKE[name]().pick(n)
        assert len(picked) == n
        assert all(isinstance(a, Assignment) and a.siblings == 4 for a in picked)


@every
def test_the_seed_decides(name):
    assert walk(MAKE[name](1), range(6)) == walk(MAKE[name](1), range(6))
    assert walk(MAKE[name](1), range(6)) != walk(MAKE[name](2), range(6))


@every
@pytest.mark.parametrize("at", [0, 1, 4, 9])
def test_a_state_that_went_through_json_continues_exactly(name, at):
    whole = walk(MAKE[name](), range(12))
    first, second = MAKE[name](), MAKE[name]()
    walk(first, range(at))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.state_dict() == first.state_dict()
    assert walk(second, range(at, 12)) == whole[at:]


@every
def test_admission_does_not_change_the_state(name):
    made = MAKE[name]()
    group = judged(made.pick(1)[0], 1)
    before = json.dumps(made.state_dict())
    assert made.admit(group) == made.admit(group)
    assert json.dumps(made.state_dict()) == before


@every
def test_observing_nothing_changes_nothing(name):
    made = MAKE[name]()
    before = json.dumps(made.state_dict())
    made.observe([])
    assert json.dumps(made.state_dict()) == before
