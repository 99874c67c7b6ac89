"""How one line of a task file becomes a task: the formats of GSM8K, MATH, HumanEval, and a plain one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from journeyman.extract import boxed, extractor, hashes
from journeyman.types import Prompt, Task, user

Row = Mapping[str, Any]
_CALCULATOR = re.compile(r"<<[^<>]*>>")


def gsm8k(row: Row) -> Task:
    """question, answer: reasoning that ends in "#### number". The gold answer is that number; extract "number". The solution
    is the whole answer without its calculator annotations (<<2+3=5>>)."""
    worked = text(row, "answer", "question, answer")
    gold = hashes(worked)
    if gold is None:
        raise ValueError("field 'answer' has no '#### number'; to read a plain answer, write the path with :plain")
    return Task(
        "", user(text(row, "question", "question, answer")), gold.replace(",", ""), "number", solution=_CALCULATOR.sub("", worked)
    )


def math(row: Row) -> Task:
    """problem, answer (or a solution with a boxed one), and optional subject, level, unique_id. Extract "boxed"."""
    problem = text(row, "problem", "problem, answer")
    gold = text(row, "answer", "problem, answer") if "answer" in row else boxed(text(row, "solution", "problem, answer"))
    if gold is None:
        raise ValueError("field 'solution' has no \\boxed{...} and there is no field 'answer'")
    digits = "".join(c for c in str(row.get("level", "")) if c.isdigit())  # 2, or "Level 2" in older files
    tags = tuple(str(row[k]) for k in ("subject", "type") if k in row)
    worked = text(row, "solution", "problem, answer") if "solution" in row else None
    return Task(str(row.get("unique_id", "")), user(problem), gold, "boxed", "", int(digits or 0), tags, worked)


def humaneval(row: Row) -> Task:
    """task_id, prompt (code to complete), test, entry_point, optional canonical_solution (the task's solution). The answer
    holds test, entry_point and prompt; extract "text"."""
    fields = "task_id, prompt, test, entry_point"
    answer = {name: text(row, name, fields) for name in ("test", "entry_point", "prompt")}
    worked = text(row, "canonical_solution", fields) if "canonical_solution" in row else None
    return Task(text(row, "task_id", fields), user(answer["prompt"]), answer, "text", solution=worked)


def plain(row: Row) -> Task:
    """prompt, question or messages; answer (any JSON); optional id, level, tags, source, solution, extract ("text" without it)."""
    names = [n for n in ("messages", "prompt", "question") if n in row]
    if not names:
        raise ValueError(missing("prompt", row, "prompt (or question or messages), answer"))
    if "answer" not in row:
        raise ValueError(missing("answer", row, "prompt (or question or messages), answer"))
    prompt = messages(row["messages"]) if names[0] == "messages" else user(text(row, names[0], "prompt, answer"))
    level, tags = row.get("level", 0), row.get("tags", [])
    if not isinstance(level, int):
        raise ValueError(f"field 'level' is {level!r:.60}; expected an integer")
    if not isinstance(tags, list) or not all(isinstance(t, str) for t in tags):
        raise ValueError(f"field 'tags' is {tags!r:.60}; expected a list of texts")
    extract = str(row.get("extract", "text"))
    extractor(extract)
    worked = text(row, "solution", "prompt, answer") if "solution" in row else None
    return Task(str(row.get("id", "")), prompt, row["answer"], extract, str(row.get("source", "")), level, tuple(tags), worked)


FORMATS: Mapping[str, Callable[[Row], Task]] = {"gsm8k": gsm8k, "math": math, "humaneval": humaneval, "plain": plain}


def detect(row: Row) -> str:
    """The format that a row's fields show."""
    if {"prompt", "test", "entry_point"} <= row.keys():
        return "humaneval"
    if "problem" in row:
        return "math"
    if isinstance(row.get("answer"), str) and "question" in row and "####" in row["answer"]:
        return "gsm8k"
    return "plain"


def text(row: Row, name: str, expected: str) -> str:
    """A field that holds a text; ValueError names the field and what was found."""
    if name not in row:
        raise ValueError(missing(name, row, expected))
    if not isinstance(row[name], str) or not row[name].strip():
        raise ValueError(f"field {name!r} is {row[name]!r:.60}; expected a text that is not blank")
    return row[name]


def missing(name: str, row: Row, expected: str) -> str:
    return f"field {name!r} is missing; found fields {', '.join(row) or 'none'}; expected {expected}"


def messages(value: Any) -> Prompt:
    """A field that holds chat messages."""
    good = isinstance(value, list) and value
    if not good or not all(isinstance(m, dict) and all(isinstance(m.get(k), str) for k in ("role", "content")) for m in value):
        raise ValueError(f"field 'messages' is {value!r:.80}; expected a list of {{'role': text, 'content': text}}")
    return tuple({"role": m["role"], "content": m["content"]} for m in value)


def question_text(task: Task) -> str:
    """The question alone: what ids and splits are made from."""
    return "\n".join(m["content"] for m in task.prompt if m["role"] != "system")
