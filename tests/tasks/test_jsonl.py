import gzip
import json
from pathlib import Path

import pytest

from journeyman.tasks import gym, jsonl, load_tasks, mix
from journeyman.types import Task, user

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the benchmark files are not beside the checkout")

GSM8K = {"question": "Two and three?", "answer": "It is 2+3=<<2+3=5>>5, a thousand times.\n#### 5,000"}
MATH = {"problem": "$1+1$", "solution": r"\boxed{2}.", "answer": "2", "subject": "Algebra", "level": 2, "unique_id": "test/1.json"}
HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": "def f():\n",
    "canonical_solution": "    return 1\n",
    "test": "assert f() == 1",
    "entry_point": "f",
}


def write(path, rows, packed=False):
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


# ---------------------------------------------------------------------------------------- the real files


@needs_data
@pytest.mark.parametrize(
    ("name", "count", "extract"),
    [
        ("gsm8k_test.jsonl", 1319, "number"),
        ("gsm8k_train.jsonl.gz", 7473, "number"),
        ("math500_test.jsonl", 500, "boxed"),
        ("HumanEval.jsonl.gz", 164, "text"),
    ],
)
def test_the_benchmark_files_load_whole(name, count, extract):
    tasks = load_tasks(str(DATA / name))
    loaded = [tasks[i] for i in range(len(tasks))]
    assert len(loaded) == len({t.id for t in loaded}) == count
    assert {t.extract for t in loaded} == {extract}
    assert all(t.answer and t.solution and t.prompt[0]["content"].strip() for t in loaded)


@needs_data
def test_the_gold_answers_of_gsm8k_are_integers():
    tasks = load_tasks(str(DATA / "gsm8k_test.jsonl"))
    assert all(tasks[i].answer.removeprefix("-").isdigit() for i in range(len(tasks)))


@needs_data
def test_a_file_splits_into_disjoint_parts():
    parts = [jsonl(DATA / "gsm8k_test.jsonl", split=split) for split in ("train", "validation", "heldout")]
    ids = [{part[i].id for i in range(len(part))} for part in parts]
    assert sum(map(len, ids)) == len(set.union(*ids)) == 1319
    assert 1000 < len(ids[0]) < 1110


# ---------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("packed", [False, True])
def test_each_format_is_told_from_its_fields(tmp_path, packed):
    def load(rows):
        return jsonl(write(tmp_path / ("x.jsonl.gz" if packed else "x.jsonl"), rows, packed))[0]

    task = load([GSM8K])
    assert (task.prompt, task.answer, task.extract) == (user("Two and three?"), "5000", "number")
    assert task.solution == "It is 2+3=5, a thousand times.\n#### 5,000"
    task = load([MATH])
    assert (task.id, task.answer, task.extract, task.level, task.tags) == ("test/1.json", "2", "boxed", 2, ("Algebra",))
    task = load([{k: v for k, v in MATH.items() if k not in ("answer", "level")} | {"level": "Level 5"}])
    assert (task.answer, task.level) == ("2", 5)
    task = load([HUMANEVAL])
    assert (task.id, task.extract) == ("HumanEval/0", "text")
    assert task.answer == {"test": "assert f() == 1", "entry_point": "f", "prompt": "def f():\n"}
    task = load(
        [{"question": "1+1?", "answer": 2, "level": 3, "tags": ["sum"], "extract": "number", "id": "mine", "source": "toy"}]
    )
    assert task == Task("mine", user("1+1?"), 2, "number", "toy", 3, ("sum",))
    task = load([{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1?"}], "answer": None}])
    assert (len(task.prompt), task.answer, task.extract) == (2, None, "text")


def test_format_extract_and_system_can_be_set(tmp_path):
    path = write(tmp_path / "x.jsonl", [GSM8K])
    assert load_tasks(f"{path}:plain")[0].answer == GSM8K["answer"]
    task = load_tasks(str(path), extract="boxed", system="Think.")[0]
    assert (task.extract, task.prompt[0]) == ("boxed", {"role": "system", "content": "Think."})


def test_ids_are_unique(tmp_path):
    row = {"prompt": "1+1?", "answer": "2"}
    tasks = jsonl(
        write(tmp_path / "x.jsonl", [row, {"prompt": "2+2?", "answer": "4"}, row, row, {"prompt": "1+1?", "answer": "3"}])
    )
    ids = [tasks[i].id for i in range(5)]
    assert ids[2:4] == [f"{ids[0]}#2", f"{ids[0]}#3"]
    assert len(set(ids)) == 5
    assert tasks[-1].id == ids[-1]
    with pytest.raises(ValueError, match=r"x.jsonl line 3: the id 'a' was used on line 1; ids must be unique"):
        jsonl(write(tmp_path / "x.jsonl", [row | {"id": "a"}, row, row | {"id": "a"}]))


def test_blank_lines_a_byte_order_mark_and_a_missing_last_newline_are_fine(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "a", "answer": "1"}\r\n\n  \n{"prompt": "b", "answer": "2"}')
    tasks = jsonl(path)
    assert [tasks[i].answer for i in (1, 0, 1)] == ["2", "1", "2"]


def test_lines_are_not_kept_parsed(tmp_path):
    import sys

    path = write(tmp_path / "x.jsonl", [{"prompt": f"{i} " + "word " * 100, "answer": str(i)} for i in range(3000)])
    tasks = jsonl(path)
    assert len(tasks) == 3000
    assert sys.getsizeof(tasks._offsets) + sys.getsizeof(tasks._lines) < 64 * 3000
    assert tasks[2999].answer == "2999"
    assert tasks[2999] is not tasks[2999]
    assert len(load_tasks(str(path), limit=7)) == 7


# ---------------------------------------------------------------------------------------- bad files

GOOD = '{"prompt": "a", "answer": "1"}'


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([GOOD, GOOD, '{"prompt": "b"}'], "x.jsonl line 3: field 'answer' is missing; found fields prompt; expected prompt"),
        ([GOOD, '{"answer": "b"}'], "x.jsonl line 2: field 'prompt' is missing; found fields answer"),
        ([GOOD, '{"prompt": 3, "answer": "b"}'], "x.jsonl line 2: field 'prompt' is 3; expected a text"),
        ([GOOD, '{"prompt": " ", "answer": "b"}'], "line 2: field 'prompt' is ' '"),
        ([GOOD, "", '{"prompt": "b", "answer"'], "x.jsonl line 3: not JSON"),
        ([GOOD, "[1, 2]"], r"x.jsonl line 2: found \[1, 2\]; expected one JSON object a line"),
        (['{"messages": [{"role": "user"}], "answer": "1"}'], "line 1: field 'messages' is"),
        (['{"prompt": "a", "answer": "1", "extract": "regex"}'], "line 1: no extractor is named 'regex'"),
        (['{"prompt": "a", "answer": "1", "level": "x"}'], "line 1: field 'level' is 'x'; expected an integer"),
        (['{"prompt": "a", "answer": "1", "tags": "x"}'], "line 1: field 'tags' is 'x'; expected a list of texts"),
        ([GSM8K, {"question": "a", "answer": "1"}], "line 2: field 'answer' has no '#### number'"),
        ([MATH, {"problem": "a"}], "line 2: field 'solution' is missing; found fields problem"),
        ([HUMANEVAL, {"prompt": "a", "answer": "b"}], "line 2: field 'test' is missing"),
        ([], "is empty"),
        (["", " "], "has no tasks"),
    ],
)
def test_a_malformed_line_names_file_line_and_field(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message) as caught:
        jsonl(write(tmp_path / "x.jsonl", rows))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_and_broken_archives_are_errors(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b'{"prompt": "\xff", "answer": "1"}\n')
    with pytest.raises(ValueError, match=r"x\.jsonl line 1: not JSON"):
        jsonl(tmp_path / "x.jsonl")
    packed = write(tmp_path / "y.jsonl.gz", [GSM8K] * 50, packed=True).read_bytes()
    for broken in (b"plain", packed[:-10], packed[:20] + b"\x00" * 9 + packed[29:]):
        (tmp_path / "y.jsonl.gz").write_bytes(broken)
        with pytest.raises(ValueError, match="is not a whole gzip file"):
            jsonl(tmp_path / "y.jsonl.gz")


# ---------------------------------------------------------------------------------------- specs and mixtures


def test_specs_of_generated_tasks():
    tasks = load_tasks("gym:chain_sum@0-2,gcd@1", limit=10)
    assert [(tasks[i].source, tasks[i].level) for i in range(5)] == [
        ("chain_sum", 0),
        ("chain_sum", 1),
        ("chain_sum", 2),
        ("gcd", 1),
        ("chain_sum", 0),
    ]
    assert len(tasks) == 10
    assert tasks[-1] == tasks[9]
    assert len(load_tasks("gym:gcd")) == 10_000
    assert len(load_tasks("gym:gcd", split="heldout")) == 500
    assert load_tasks("gym:gcd@1", limit=3)[2] == gym("gcd", level=1)[2]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tasks.txt", "'tasks.txt' is no source of tasks; write gym:FAMILY@LEVEL"),
        ("nowhere.jsonl", "there is no file nowhere.jsonl"),
        ("gym:", "is no family"),
        ("gym:chain sum", "is no family"),
        ("gym:gcd@x", "is no family"),
        ("gym:gcd@2-1", "levels from 2 down to 1"),
        ("gym:gcd,gcd@0", "twice"),
        ("gym:gcd@9", "gcd has levels 0 to 3: found level 9"),
    ],
)
def test_a_wrong_spec_says_what_to_write(spec, message):
    with pytest.raises(ValueError, match=message):
        load_tasks(spec)


def test_a_forced_format_must_exist(tmp_path):
    with pytest.raises(ValueError, match="no format is named 'csv'; write one of gsm8k, math, humaneval, plain"):
        load_tasks(f"{write(tmp_path / 'x.jsonl', [GSM8K])}:csv")


def named(name, n):
    return [Task(f"{name}{i}", user("?")) for i in range(n)]


def test_a_mixture_keeps_its_proportions_and_loses_nothing():
    order = mix([named("a", 30), named("b", 10)], [3, 1])
    ids = [order[i].id for i in range(40)]
    assert len(set(ids)) == 40
    for n in (4, 8, 20, 40):
        assert sum(i.startswith("b") for i in ids[:n]) == n // 4
    assert [i for i in ids if i.startswith("a")] == [f"a{i}" for i in range(30)]
    short = mix([named("a", 1), named("b", 3)])
    assert [short[i].id for i in range(4)] == ["a0", "b0", "b1", "b2"]


@pytest.mark.parametrize(("sources", "weights"), [([], None), ([[]], None), ([named("a", 1)], [0]), ([named("a", 1)], [1, 2])])
def test_a_wrong_mixture_is_refused(sources, weights):
    with pytest.raises(ValueError, match=r"mixture|weights"):
        mix(sources, weights)
