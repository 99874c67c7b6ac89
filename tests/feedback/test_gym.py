r"""Both sides of the reasoning-gym verifier, with the library's leaks pinned: what raw score 1.0 would have let through."""

import asyncio

import msgspec
import pytest

from journeyman.feedback import gym
from journeyman.feedback.gym_rules import same_tokens, unsafe
from journeyman.tasks import gym as tasks
from journeyman.tasks.levels import LEVELS
from journeyman.types import Task, from_json, to_json
from journeyman.workers import shared
from tests.feedback.helpers import collect, group, judge, scores


def one(family, config=None, **entry):
    """A task of a family; ``entry`` overrides its answer and metadata."""
    made = tasks(family, size=1, config=config)[0]
    metadata = {**made.answer["metadata"], **entry.pop("metadata", {})}
    return Task(made.id, made.prompt, {**made.answer, **entry, "metadata": metadata}, "text", made.source)


def raw(task, answer):
    """What the library alone says."""
    return shared().submit("journeyman.tasks.generate:score", task.answer, [answer], deadline=30).result()[0]


@pytest.mark.parametrize("family", sorted(LEVELS))
def test_each_family_of_the_tables_from_both_sides(family):
    source = tasks(family, size=6)
    for i in range(3):
        task = from_json(to_json(source[i]), Task)
        gold = task.answer["answer"]
        other = next(a for a in [*(source[k].answer["answer"] for k in range(6)), "99"] if a != gold)
        right = [f"work <answer>{gold}</answer>", f"<answer> {gold}\n</answer>"]
        wrong = ["", gold, "<answer></answer>", "<answer>x</answer>", f"<answer>The answer is {gold}</answer>"]
        wrong += [
            f"<answer>{gold} or {other}</answer>",
            f"<answer>{other} or {gold}</answer>",
            f"<answer>{gold}</answer><answer>{other}</answer>",
        ]
        wrong += [f"<answer>{gold}{gold}.</answer>"] if gold != "0" else []
        wrong += [f"<answer>{'9' * 30_000}</answer>", "<answer>\x00\ud83d?</answer>"]
        if family not in ("countdown", "knights_knaves"):  # several right answers, or 1 + a + b is one of them
            wrong += [f"<answer>1{gold}</answer>", f"<answer>{gold}1</answer>"]
        judged = judge(gym(), group(task, right + wrong))
        assert all(j.status == "checked" for j in judged), [j for j in judged if j.status != "checked"]
        assert [j.score for j in judged] == [1.0] * len(right) + [0.0] * len(wrong)


LEAKS = [
    ("number_sorting", {}, {"answer": "['10', '20', '30']", "metadata": {"direction": "ascending"}}, "['10', '20.9', '30']"),
    ("decimal_arithmetic", {}, {"answer": "1.23"}, "1.2300001"),
    ("pool_matrix", {}, {"answer": "100 200\n300 400"}, "100 200\n300 401"),
    ("gsm_symbolic", {}, {"answer": "10"}, "10 or 11"),
    ("survo", {"min_board_size": 4, "max_board_size": 4}, {}, "The answer is {gold}"),
    ("kakurasu", {}, {}, "The answer is {gold}"),
    ("knights_knaves", {}, {}, "The answer is {gold}"),
    ("sokoban", {}, {}, "The answer is {gold}"),
    ("quantum_lock", {}, {}, "{gold}1"),
    ("tower_of_hanoi", {}, {}, "1{gold}"),
    ("fraction_simplification", {"styles": ["latex_frac"]}, {}, "{gold} or 1/2"),
    ("letter_jumble", {}, {"answer": "to be"}, "to be or not"),
    ("game_of_life_halting", {}, {"answer": "True"}, "False"),
    ("game_of_life_halting", {}, {"answer": "False"}, "x"),
    ("puzzle24", {}, {"metadata": {"numbers": [4, 4, 4, 6]}}, "1*2*3*4"),
]


@pytest.mark.parametrize(("family", "config", "entry", "answer"), LEAKS)
def test_what_the_library_lets_through_scores_zero(family, config, entry, answer):
    task = one(family, config, **entry)
    answer = answer.format(gold=task.answer["answer"])
    assert raw(task, answer) == 1.0, "the leak is closed in the library: the rule may go"
    assert scores(gym(), task, [answer]) == [0.0]


def test_full_marks_are_one_not_99_percent():
    """A time 14 minutes off has raw score 0.9903, a grid with a character too many 0.9976."""
    task = one(
        "time_intervals",
        {"task_types": ["time"], "max_time_difference_seconds": 86400},
        answer="10:00",
        metadata={"task_type": "time"},
    )
    assert 0.99 <= raw(task, "10:14") < 1
    assert scores(gym(), task, ["10:14", "10:00"]) == [0.0, 1.0]
    task = one("modulo_grid")
    gold = task.answer["answer"]
    assert 0.99 <= raw(task, f"{gold}1") < 1
    assert scores(gym(), task, [f"{gold}1", gold]) == [0.0, 1.0]


def test_raw_scores_are_kept_and_floors_are_not_credit():
    task = one("countdown")
    [judgement] = judge(gym(), group(task, ["1"]))
    assert judgement.score == 0.0
    assert 0 < judgement.components["raw"] < 1


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("4*4+4+4", False),
        ("(6-4)*(4+4+4)", False),
        ("6*4+4-4", True),
        ("6 * (4 + 4 - 4)", True),
        ("4*(6*4/4)", True),
        ("6*4", False),
        ("24", False),
        ("6*4+4-4 = 24", False),
        ("6**4", False),
        ("6*4.0+4-4", False),
        ("__import__('os')", False),
        ("4/(4-4)+6", False),
        ("(" * 150, False),
        ("6*4+4-4+1-1" * 100, False),
    ],
)
def test_puzzle24_checks_its_own_numbers(answer, right):
    task = one("puzzle24", metadata={"numbers": [4, 4, 4, 6]})
    assert scores(gym(), task, [answer]) == [float(right)]


def test_a_scorer_that_raises_on_an_answer_has_refused_it():
    task = one("prime_factorization")
    assert "ValueError" in str(raw(task, "none"))
    judged = judge(gym(), group(task, ["none", task.answer["answer"]]))
    assert [(j.status, j.score) for j in judged] == [("checked", 0.0), ("checked", 1.0)]


def test_a_scorer_that_breaks_on_the_gold_is_a_failure():
    task = one("prime_factorization", answer="none")
    assert [j.status for j in judge(gym(), group(task, [task.answer["answer"]]))] == ["failed"]


def test_noise_on_standard_output_is_swallowed(capfd):
    task = one("tower_of_hanoi")
    assert scores(gym(), task, ["Move disk 3 from Peg 1 to Peg 1"]) == [0.0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "family", ["string_insertion", "spiral_matrix", "n_queens", "countdown", "polynomial_multiplication", "simple_integration"]
)
def test_no_answer_is_run_as_python(family, tmp_path):
    """These scorers call eval (or sympy's parse_expr, which is eval) on the answer."""
    proof = tmp_path / "proof"
    code = f"open({str(proof)!r}, 'w')"
    task = one(family)
    chars = "+".join(f"chr({ord(c)})" for c in "exit()")
    assert (
        scores(gym(deadline=5), task, [code, f"[{code}]", f"eval({chars})", "Integral(x, x)", "9**9**9**9", "(9**999)**999"])
        == [0.0] * 6
    )
    assert not proof.exists()
    assert scores(gym(), task, [task.answer["answer"]]) == [1.0]


def test_unsafe_and_same_tokens_say_what_they_say():
    assert not unsafe("(12 + 3)*4/x - sin(2*x) + C", "simple_integration")
    assert unsafe("x.y", "simple_integration")
    assert unsafe("exit()", "countdown")
    assert same_tokens("[1, 2.0]", "['1','2']")
    assert same_tokens("1 2\n3 4", "1 2 \n3 4")
    assert not same_tokens("12", "1 2")
    assert not same_tokens("[1, 2, 3]", "[1, 2]")


def test_a_hanging_scorer_times_out_alone():
    task = one("intermediate_integration", answer="x**2 + C", metadata={"integrand": "2*x", "variable": "x"})
    hung, fine, wrong = judge(gym(deadline=1.0), group(task, ["(sin(x)+cos(x))**300", "x**2 + C", "x**3 + C"]))
    assert (hung.status, hung.score) == ("timed_out", None)
    assert (fine.score, wrong.score) == (1.0, 0.0)


def test_other_tasks_and_absent_answers_are_failures():
    assert [j.status for j in judge(gym(), group(Task("t", (), "5"), ["5"]))] == ["failed"]
    assert [j.status for j in judge(gym(), group(one("gcd"), [None]))] == ["failed"]


def test_concurrent_groups():
    source = tasks("gcd", size=40)

    async def main():
        return await asyncio.gather(
            *(collect(gym(), group(source[i], [f"<answer>{source[i].answer['answer']}</answer>"])) for i in range(40))
        )

    assert all(j.score == 1.0 for [j] in asyncio.run(main()))


def test_entries_are_plain_json():
    task = one("knights_knaves")
    assert msgspec.json.decode(msgspec.json.encode(task.answer)) == task.answer
