"""What the command line shows: recipes on a page, the catalogue, results."""

import re

import pytest
from rich.console import Console

from journeyman import objectives, recipes
from journeyman.show import first_sentence, methods_table, result_table, show_recipe, source, used_names, written_names

ORDER = ["recipe", "the loop", "curriculum", "strategy", "feedback", "credit", "learner", "objective"]


@pytest.mark.parametrize("name", recipes.__all__)
def test_recipe_on_a_page(name):
    code = show_recipe(getattr(recipes, name), name).code
    titles = re.findall(r"^# ---- (.*)$", code, re.MULTILINE)
    assert len(set(titles)) == len(titles)
    kinds = [next(kind for kind in ORDER if title.startswith(kind)) for title in titles]
    assert kinds == sorted(kinds, key=ORDER.index)
    assert set(kinds) == set(ORDER)
    defined = re.findall(r"^(?:async )?(?:def|class) (\w+)", code, re.MULTILINE)
    assert len(set(defined)) == len(defined) - (name in objectives.__all__)  # dpo is a recipe and its objective
    assert {name, "train", "collect", "auto", "Gradient"} <= set(defined)
    longer = {"grpo": 340, "hpt": 415, "luffy": 390, "rlgf": 420}  # the last three have two losses, each with parts of its own
    assert code.count("\n") <= longer.get(name, 380)
    assert "\n\n\n" not in code
    for hidden in ("def state_dict", "def __post_init__", "    needs = ", "@declare", "Parameters\n"):
        assert hidden not in code


def test_the_page_holds_what_the_recipe_is_made_of():
    code = show_recipe(recipes.grpo, "grpo").code
    for line in (
        "credit=group_zscore()",
        "advantages = self.rule(np.array(",  # on_sampled, which group_zscore calls
        "coefficient = (kept * ratio * self.correction(batch)).detach()",
        "flat = (advantage > 0) & (ratio > 1 + value(self.high))",
        "optimiser = self._ready(policy)",
    ):
        assert code.count(line) == 1


class long:
    """What it does.

    More of it.
    """

    needs = frozenset()

    def update(self) -> int:
        """Little."""
        return self.work()

    def work(self) -> int:
        """Much."""
        return 1

    def other(self) -> int:
        """Something else."""
        lines = [
            1,
            2,
            3,
            4,
            5,
            6,
            7,
            8,
            9,
            10,
            11,
            12,
            13,
            14,
            15,
        ]
        return sum(lines)


def test_of_a_long_class_its_verb_and_what_that_calls():
    shown = source(long, "update")
    assert shown.startswith('class long:  # 36 lines; its update and work:\n    """What it does."""\n\n    def update')
    assert 'return self.work()\n\n    def work(self) -> int:\n        """Much."""\n        return 1' in shown
    assert "other" not in shown
    assert "def other" in source(long)


# ---------------------------------------------------------------------------------------- methods


def test_first_sentence():
    assert (
        first_sentence("Dr. GRPO: of Liu et al. 2025, the\nmean alone. More.\n\nMuch more.")
        == "Dr. GRPO: of Liu et al. 2025, the mean alone."
    )
    assert first_sentence("score = 1\n\nmore") == "score = 1"


def test_names_used_in_code():
    code = 'import a.b\nfrom c import d as e\nx.f(g)\n"vote(n=2)"\n"grpo"\n"a sentence about h"\n# i\n'
    assert used_names(code) >= {"a.b", "d", "f", "g", "x", "vote", "n", "grpo"}
    assert not {"h", "i", "sentence"} & used_names(code)


def test_a_text_names_parts_in_its_code_only():
    text = """$ journeyman run grpo --strategy "vote(n=2)"
    Within this sentence times, linear and sample are words; `within` is a part, and retry(turns=3) another.
    | kl_cov | linear in tokens |
    """
    text = "\n".join(line.strip() for line in text.splitlines())
    assert {"grpo", "vote", "within", "retry", "kl_cov"} <= written_names(text)
    assert not {"times", "linear", "sample"} & written_names(text)


def test_methods_table_lists_every_row():
    rows, table = methods_table()
    assert table.row_count == len(rows) + len({row["kind"] for row in rows})
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    for row in rows:
        assert f"   {row['name']} " in capture.get()
    for row in rows:
        assert row["file"].startswith("journeyman/")
        assert all(re.fullmatch(r"arXiv:\d{4}\.\d{4,5}", x) for x in row["papers"])
        assert all(re.fullmatch(r"S\d{3}", x) for x in row["seed_id"])


# ---------------------------------------------------------------------------------------- results


def estimate(mean):
    return {"mean": mean, "low": max(0.0, mean - 0.031), "high": min(1.0, mean + 0.031)}


def part(mean, n):
    return {"n_tasks": n, "pass_1": estimate(mean), "pass_k": estimate(min(1.0, mean + 0.3))}


def side(mean, families, k):
    cells = [{"family": f, "level": x, **part(min(1.0, mean + x / 10), 100)} for f, levels in families.items() for x in levels]
    return {"k": k, "overall": part(mean, 1000), "families": {f: part(mean, 300) for f in families}, "cells": cells}


def shown(families, k=4):
    result = {"before": side(0.123, families, k), "after": side(1.0, families, k)}
    table = result_table({**result, "change": {"mean": 0.877, "low": 0.851, "high": 0.9}})
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def words(text):
    return [line.split() for line in text.splitlines() if line.strip()]


def test_result_of_one_family():
    text = shown({"chain_sum": [1]})
    assert ["all", "1000", "12.3", "9-15", "100.0", "97-100", "42.3", "39-45", "100.0", "97-100"] in words(text)
    assert "chain_sum" not in text
    assert "level" not in text
    assert "pass@1 changed by +87.7 points (+85.1 to +90.0, 95 %, paired by task)" in " ".join(text.split())


def test_result_of_one_family_by_level():
    rows = words(shown({"chain_sum": [0, 2]}))
    assert ["level", "0", "100", "12.3", "9-15", "100.0", "97-100", "42.3", "39-45", "100.0", "97-100"] in rows
    assert ["level", "2", "100", "32.3", "29-35", "100.0", "97-100", "62.3", "59-65", "100.0", "97-100"] in rows


@pytest.mark.parametrize("k", [1, 4])
def test_wide_results_fit_80_columns(k):
    text = shown({"chain_sum": [0, 1], "intermediate_integration": [3, 4], "gcd": [2]}, k)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "…" not in text
    rows = words(text)
    names = [row[0] for row in rows]
    for name in ("all", "chain_sum", "gcd"):
        assert names.count(name) == 1
    assert sum(name == "level" for name in names) == 4  # gcd has one level: its row says all
    assert (
        "".join(row[0] for row in rows if (len(row) == 1 and row[0].isidentifier()) or row[0].startswith("inter"))
        == "intermediate_integration"
    )
    numbers = ["12.3", "9-15", "100.0", "97-100", *(["42.3", "39-45", "100.0", "97-100"] if k > 1 else [])]
    assert ["gcd", "300", *numbers] in rows


def test_families_and_levels_are_matched_by_name():
    before, after = side(0.1, {"a": [0], "b": [0]}, 1), side(0.5, {"b": [0], "a": [0]}, 1)
    before["families"]["a"] = part(0.2, 300)
    table = result_table({"before": before, "after": after, "change": estimate(0.1)})
    by_name = dict(zip((c.plain for c in table.columns[0].cells), table.columns[2].cells, strict=True))
    assert by_name["a"].startswith("20.0")
    assert by_name["b"].startswith("10.0")
