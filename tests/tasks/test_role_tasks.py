"""Tasks asked in a role: the gold says what the role's target says, and what is drawn follows from the task."""

import asyncio

import pytest

from journeyman.feedback import auto
from journeyman.tasks import entry_of, gym, load_tasks
from journeyman.tasks.role_tasks import ROLES, role_tasks
from journeyman.tasks.roles import UNKNOWN
from journeyman.tasks.solvers import SOLVERS
from journeyman.types import Answer, Assignment, Attempt, Group

FAMILIES = ("gcd", "number_sorting", "knights_knaves", "mini_sudoku", "time_intervals")


def judged(task, text):
    attempt = Attempt("a", task.id, Answer(text, "t"))
    (judgement,) = asyncio.run(auto()(Group("g", Assignment(task, 1), (attempt,))))
    return judgement.score


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_taught_target_scores_one_and_another_does_not(role, family):
    for level in (0, 3):
        tasks = role_tasks(gym(family, level=level, size=6, split="heldout"), role)
        for task in (tasks[i] for i in range(6)):
            assert task.prompt[-1]["role"] == "user"
            assert task.id.startswith(f"{role}/")
            assert judged(task, task.solution) == 1.0
            assert judged(task, "<answer>perhaps</answer>") != 1.0
            if role != "decline":
                assert judged(task, f"<answer>{UNKNOWN}</answer>") != 1.0


def test_verify_asks_of_right_and_of_wrong_attempts():
    tasks = load_tasks("verify:gcd@0-1", split="heldout", limit=40)
    golds = [tasks[i].answer for i in range(40)]
    assert 10 <= golds.count("yes") <= 30
    assert set(golds) == {"yes", "no"}
    for i in range(40):
        question, attempt, _ = tasks[i].prompt[0]["content"].rsplit("\n\n", 2)
        entry = entry_of(tasks.tasks[i])
        assert entry["question"].strip() == question
        assert (SOLVERS["gcd"].first_wrong_step(entry, attempt) is None) == (golds[i] == "yes")


def test_revise_always_gives_a_wrong_attempt():
    tasks = load_tasks("revise:chain_sum@0", split="heldout", limit=20)
    for i in range(20):
        attempt = tasks[i].prompt[0]["content"].rsplit("\n\n", 2)[1]
        assert SOLVERS["chain_sum"].first_wrong_step(entry_of(tasks[i]), attempt) is not None


def test_equal_tasks_are_asked_equally_and_differ_from_their_source():
    once, twice = (load_tasks("choose:products@0", split="heldout", limit=5) for _ in range(2))
    assert [once[i] for i in range(5)] == [twice[i] for i in range(5)]
    assert once[0].id != once.tasks[0].id


def test_unknown_roles_and_families_without_a_solver_are_refused():
    with pytest.raises(ValueError, match="no role is named 'judge'; write one of verify"):
        role_tasks(gym("gcd", size=1), "judge")
    with pytest.raises(ValueError, match="no family with an exact solver"):
        role_tasks(gym("bf", size=1), "verify")[0]
    with pytest.raises(ValueError, match="is no source of tasks; write gym:FAMILY@LEVEL, verify:FAMILY@LEVEL"):
        load_tasks("judge:gcd")
