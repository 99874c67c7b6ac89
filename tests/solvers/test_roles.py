"""Role chats: well formed, reproducible, and true."""

from __future__ import annotations

from random import Random

import pytest

from journeyman.tasks import roles
from journeyman.tasks.levels import HELD_OUT_FAMILIES, LEVELS
from journeyman.tasks.solvers import SOLVERS, answer_of, split_steps
from journeyman.tasks.solvers.steps import one_path
from tests.solvers.sample import entries

TRAINED = [family for family in LEVELS if family not in HELD_OUT_FAMILIES]
BUILDERS = [roles.solve, roles.verify, roles.revise, roles.choose, roles.again]


@pytest.mark.parametrize("family", TRAINED)
def test_chats_alternate_and_repeat_with_the_seed(family: str) -> None:
    for build in BUILDERS:
        for seed, entry in enumerate(entries(family, 0)[:20]):
            chat = build(Random(seed), entry, SOLVERS[family])
            assert [m["role"] for m in chat] == ["user", "assistant"] * (len(chat) // 2)
            assert entry["question"].strip() in chat[0]["content"]
            assert chat[-1]["content"].count("<answer>") == 1
            assert chat == build(Random(seed), entry, SOLVERS[family])


@pytest.mark.parametrize("family", TRAINED)
def test_wrong_attempts_have_a_wrong_step_and_a_wrong_answer(family: str) -> None:
    rng, solver = Random(0), SOLVERS[family]
    for entry in entries(family, 1)[:50]:
        attempt = roles.wrong_attempt(rng, entry, solver)
        assert solver.first_wrong_step(entry, attempt) is not None
        assert split_steps(attempt)[-1] != split_steps(solver.solve(entry))[-1]


def test_verdicts_name_the_first_wrong_step() -> None:
    verdicts = set()
    for seed, entry in enumerate(entries("chain_sum", 2)):
        prompt, target = roles.verify(Random(seed), entry, SOLVERS["chain_sum"])
        attempt = prompt["content"].split("\n\n")[1]
        wrong = SOLVERS["chain_sum"].first_wrong_step(entry, attempt)
        *lines, verdict = split_steps(target["content"])
        verdicts.add(answer_of(verdict))
        assert answer_of(verdict) == ("yes" if wrong is None else "no")
        assert (wrong is None) == lines[-1].endswith("right")
        assert all(line.startswith(f"{k + 1}: ") for k, line in enumerate(lines))
        assert wrong is None or (len(lines) == wrong + 1 and lines[-1].endswith("wrong"))
    assert verdicts == {"yes", "no"}


def test_a_verdict_works_the_steps_out_up_to_the_first_difference() -> None:
    solver = one_path(lambda entry: (["9+4=13 1", "13+7=20"], "20"))
    attempt = "9+4=13 1\n13+7=21\n<answer>21</answer>"
    found = [roles.verify(Random(seed), {"question": "9+4+7?"}, solver) for seed in range(200)]
    work = {prompt["content"].split("\n\n")[1]: target["content"] for prompt, target in found}
    assert work[solver.solve({})] == "1: 9+4=13 1 right\n2: 13+7=20 right\n3: 20 right\n<answer>yes</answer>"
    assert work[attempt] == "1: 9+4=13 1 right\n2: 13+7=20 wrong\n<answer>no</answer>"


def test_the_chosen_option_is_the_gold() -> None:
    for seed, entry in enumerate(entries("gcd", 0)):
        prompt, target = roles.choose(Random(seed), entry, SOLVERS["gcd"])
        number = answer_of(split_steps(target["content"])[-1])
        assert f"\n{number}) {entry['answer']}\n" in prompt["content"]


def test_revising_and_trying_again_end_in_the_solution() -> None:
    entry = entries("products", 1)[0]
    solution = SOLVERS["products"].solve(entry)
    revised, tried = roles.revise(Random(1), entry, SOLVERS["products"]), roles.again(Random(1), entry, SOLVERS["products"])
    assert revised[-1]["content"] == tried[-1]["content"] == solution
    assert solution not in [m["content"] for m in tried[:-1]]


def test_declining_only_where_it_is_hard() -> None:
    entry = entries("products", 1)[0]
    assert roles.UNKNOWN in roles.decline(Random(0), entry, SOLVERS["products"], hard=True)[-1]["content"]
    assert roles.decline(Random(0), entry, SOLVERS["products"], hard=False)[-1]["content"] == SOLVERS["products"].solve(entry)


def test_a_change_is_carried_into_later_steps() -> None:
    text = "12+9: =21\n21+4: =25\n<answer>25</answer>"
    for seed in range(20):
        changed = roles.corrupt_step(Random(seed), text, 0)
        assert changed is not None
        first, second, _ = split_steps(changed)
        assert first != "12+9: =21"
        if not first.endswith("=21"):
            assert second.startswith(first.rsplit("=", 1)[1] + "+4")
