r"""Generated tasks: one question in one split, the same everywhere, and never an endless wait."""

import importlib
import random
import re
import subprocess
import sys
import time

import pytest

from journeyman.tasks import entry_of, gym
from journeyman.tasks.entries import content_hash, freeze, seed_of, split_of, thaw
from journeyman.tasks.gym import GymTasks
from journeyman.types import Task, from_json, to_json
from journeyman.workers import shared


def questions(tasks):
    return [tasks[i].prompt[-1]["content"] for i in range(len(tasks))]


@pytest.mark.parametrize("family", ["chain_sum", "gcd", "spell_backward", "leg_counting", "number_sorting"])
def test_no_two_splits_share_a_question(family):
    """With the library's own seeds, train seed 42 and test seed 43 share 99.5% of their questions."""
    found = {
        split: {
            content_hash(q) for seed in (42, 43) for q in questions(gym(family, split=split, size=500, seed=seed, distinct=False))
        }
        for split in ("train", "validation", "heldout")
    }
    assert not found["train"] & found["validation"]
    assert not found["train"] & found["heldout"]
    assert not found["validation"] & found["heldout"]
    assert min(len(x) for x in found.values()) > 50


def test_neighbouring_seeds_are_unrelated():
    a, b = (questions(gym("gcd", level=1, size=300, seed=seed)) for seed in (1, 2))
    assert len(set(a) & set(b)) < 15
    assert a[1:] != b[:-1]


def test_split_shares():
    counts = {"train": 0, "validation": 0, "heldout": 0}
    for i in range(5000):
        counts[split_of(f"question {i}")] += 1
    assert 3850 < counts["train"] < 4150  # 4000 expected, standard deviation 28
    assert 400 < counts["validation"] < 600
    assert split_of("What is  2 + 2?\n") == split_of("what is 2 + 2?")
    assert {split_of(str(i), (0, 0, 1)) for i in range(50)} == {"heldout"}


@pytest.mark.parametrize("distinct", [False, True])
def test_the_order_of_access_changes_nothing(distinct):
    first, second = (gym("chain_sum", size=300, seed=5, distinct=distinct) for _ in range(2))
    forward = [first[i] for i in range(300)]
    backward = [second[i] for i in range(299, -1, -1)]
    assert forward == backward[::-1]
    assert first[-1] == forward[299]
    with pytest.raises(IndexError):
        first[300]


def test_any_item_of_a_large_source_is_made_on_its_own():
    tasks = gym("chain_sum", level=2, size=1_000_000)
    began = time.monotonic()
    assert tasks[987_654].source == "chain_sum"
    assert time.monotonic() - began < 5


def test_items_asked_for_in_no_order_are_made_alone_and_those_in_order_together(monkeypatch):
    made = []
    draw = GymTasks._draw
    monkeypatch.setattr(importlib.import_module("journeyman.tasks.gym"), "CHUNK_SECONDS", 60.0)
    monkeypatch.setattr(GymTasks, "_draw", lambda self, wanted: made.append(len(wanted)) or draw(self, wanted))
    tasks = gym("gcd", size=100_000)
    for item in random.Random(0).sample(range(100_000), 20):
        assert tasks[item].source == "gcd"
    assert made == [1] * 20  # the chunk that grows would be 512 items by now, for each of them
    made.clear()
    assert len({tasks[item].id for item in range(50_000, 50_100)}) > 90
    assert made == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("family", ["word_ladder", "list_functions", "isomorphic_strings", "polynomial_multiplication"])
def test_the_same_items_in_another_process(family):
    """These generators walk over sets or draw from the global generator: they differ from process to process in the library."""
    code = f"from journeyman.tasks import gym; t = gym({family!r}, size=3, split='all'); print(*(t[i].id for i in range(3)))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    here = gym(family, size=3, split="all")
    assert [here[i].id for i in range(3)] == there


def test_what_a_task_holds():
    tasks = gym("gcd", level=1, size=3, system="Think.", extract="number")
    task = tasks[0]
    assert re.fullmatch(r"gcd/1/[0-9a-f]{12}", task.id)
    assert task.id != gym("gcd", level=1, size=3, extract="number", config={"max_value": 499})[0].id
    assert (task.source, task.level, task.extract) == ("gcd", 1, "number")
    assert task.prompt[0] == {"role": "system", "content": "Think."}
    assert task.answer["question"] == task.prompt[1]["content"]
    assert task.answer["config"] == {"max_value": 500, "min_value": 10}
    assert from_json(to_json(task), Task) == task


def test_distinct_questions_until_there_are_no_more():
    one_digit = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    tasks = gym("chain_sum", config=one_digit, split="heldout", size=10)
    assert len(set(questions(tasks))) == 10
    with pytest.raises(ValueError, match=r"gym:chain_sum@0 \(heldout, seed 0\) has too few distinct questions for 500 tasks"):
        questions(gym("chain_sum", config=one_digit, split="heldout", size=500))
    repeated = questions(gym("chain_sum", config=one_digit, size=500))
    assert len(set(repeated)) < 500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"family": "chain_sums"}, "no generator named 'chain_sums'; write one of chain_sum"),
        ({"family": "composite"}, "composite is a mixture"),
        ({"family": "chain_sum", "level": 99}, "chain_sum has levels 0 to 4: found level 99"),
        ({"family": "sudoku", "level": 1}, "sudoku has no level table, so only level 0"),
        ({"family": "chain_sum", "config": {"min_terms": 9}}, "refuses chain_sum with .*: max_terms must be >= min_terms"),
        ({"family": "chain_sum", "config": {"terms": 9}}, "unexpected keyword argument 'terms'"),
        ({"family": "chain_sum", "split": "test"}, "found split='test'; write one of train, validation, heldout, all"),
        ({"family": "chain_sum", "extract": "regex"}, "no extractor is named 'regex'"),
        ({"family": "chain_sum", "size": 0}, "found size=0"),
        ({"family": "chain_sum", "fractions": (0.5, 0.5)}, "expected three shares"),
    ],
)
def test_bad_arguments_are_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        gym(**arguments)
    assert "\n" not in str(caught.value)


def test_a_generator_that_takes_too_long_is_an_error_not_a_wait(monkeypatch):
    """futoshiki has a heavy tail: 80 items of the library did not finish in 40 s."""

    monkeypatch.setattr(importlib.import_module("journeyman.tasks.gym"), "PATIENCE", 0.2)
    tasks = GymTasks(
        "futoshiki", 0, 40, "all", 0, b'{"min_board_size":9,"max_board_size":9}', "answer", None, False, (0.8, 0.1, 0.1)
    )
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"took more than 0.2 s for one item; use an easier level"):
        questions(tasks)
    assert time.monotonic() - began < 10


QUICK = "ab acre aiw arc_1d bf boxnet calendar_arithmetic coin_flip course_schedule graph_color gsm_symbolic jugs knights_knaves"
QUICK += " maze mini_sudoku n_queens path_star propositional_logic rearc rubiks_cube rush_hour shortest_path sokoban"
QUICK += " string_synthesis survo tower_of_hanoi tsumego word_ladder"


@pytest.mark.parametrize("family", QUICK.split())
def test_an_entry_is_scored_alike_after_json(family):
    """The library's own metadata holds tuples, sets, numpy numbers and integer keys; arc tasks score 0.05 when tuples are lost."""
    task = from_json(to_json(gym(family, size=1, split="all")[0]), Task)
    if task.answer["answer"] is not None:
        [score] = shared().submit("journeyman.tasks.generate:score", task.answer, [task.answer["answer"]], deadline=30).result()
        assert score == 1.0
    assert set(entry_of(task)) == {"question", "answer", "metadata"}


def test_freeze_and_thaw_are_inverse_and_refuse_the_rest():
    value = {"a": (1, [2.5, (None,)]), "b": {1: {"x"}, (2, 3): True}, "$tuple": "not a tag"}
    assert thaw(freeze(value)) == value
    with pytest.raises(ValueError, match=r"found a builtins.object"):
        freeze({"a": object()})


def test_seeds_are_hashed():
    seeds = {seed_of("f", i) for i in range(2000)}
    assert len(seeds) == 2000
    assert max(seeds) < 2**31
    assert min(abs(seed_of("f", i + 1) - seed_of("f", i)) for i in range(200)) > 1000


def test_entry_of_refuses_other_tasks():
    with pytest.raises(ValueError, match="holds no entry of reasoning-gym"):
        entry_of(Task("t", (), "5"))
