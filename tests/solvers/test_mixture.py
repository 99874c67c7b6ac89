"""The pretraining stream: reproducible, of the train split, without what is held out, and fast."""

from __future__ import annotations

import time
from collections import Counter
from itertools import islice

import pytest

from journeyman.tasks import roles
from journeyman.tasks.entries import split_of
from journeyman.tasks.solvers.mixture import ROLE_WEIGHTS, pretraining_rows

SOLVE = {"solve": 1.0}


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    first = list(islice(pretraining_rows(3), 200))
    assert first == list(islice(pretraining_rows(3), 200))
    later = {str(row) for row in islice(pretraining_rows(4), 200)}
    assert sum(str(row) in later for row in first) < 10


def test_only_train_questions_are_drawn() -> None:
    rows = list(islice(pretraining_rows(5, role_weights=SOLVE), 500))
    assert {split_of(row[0]["content"]) for row in rows} == {"train"}


def test_roles_are_drawn_by_weight() -> None:
    asks = {"verify": roles.ASK_VERIFY, "revise": roles.ASK_REVISE, "choose": roles.ASK_CHOOSE, "decline": roles.ASK_DECLINE}
    counts: Counter[str] = Counter()
    for row in islice(pretraining_rows(6, families=["chain_sum", "gcd"]), 3000):
        role = next((name for name, texts in asks.items() if row[-2]["content"].endswith(texts)), "solve")
        counts["again" if len(row) > 2 else role] += 1
    for role, weight in ROLE_WEIGHTS.items():
        assert counts[role] / 3000 == pytest.approx(weight, abs=0.025)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"families": ["lcm"]}, "held out"),
        ({"role_weights": {"sing": 1.0}}, "unknown roles"),
        ({"family_weights": {"lcm": 1.0}}, "unknown roles or families"),
        ({"level_weights": (1.0,)}, "one for each level"),
        ({"level_weights": (1.0, 1.0, 1.0, -1.0, 1.0)}, "weights are >= 0"),
    ],
)
def test_bad_arguments_are_refused_at_the_call(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pretraining_rows(0, **arguments)  # type: ignore[arg-type]


def test_fast_enough_to_feed_a_trainer() -> None:
    rows = pretraining_rows(0)
    next(rows)
    start = time.process_time()
    for _ in islice(rows, 1000):
        pass
    # measured 3,300 rows a second on one core; a loaded machine gets some room
    assert 1000 / (time.process_time() - start) > 1000
