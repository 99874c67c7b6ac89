"""Tasks from JSON-lines files, plain or gzip: read once and checked line by line, then kept as offsets, not as objects."""

from __future__ import annotations

import gzip
import mmap
import os
import shutil
import tempfile
import zlib
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from journeyman.extract import extractor
from journeyman.tasks.entries import SPLITS, content_hash, split_of
from journeyman.tasks.formats import FORMATS, Row, detect, question_text
from journeyman.types import Task

_decoder = msgspec.json.Decoder()


class JsonlTasks:
    """The tasks of one file, parsed when asked for. ``jsonl`` says what its arguments mean."""

    def __init__(
        self, path: Path, format: str | None, split: str, limit: int | None, extract: str | None, system: str | None
    ) -> None:
        self.path, self.format, self.extract, self.system = path, format, extract, system
        self._bytes = mapped(path)
        self._offsets, self._lines = array("Q"), array("Q")
        self._renamed: dict[int, str] = {}  # where equal content was given an id of its own
        seen: dict[str, tuple[int, int]] = {}  # id -> (times, line where it was first)
        for number, line in enumerate(iter(self._bytes.readline, b""), 1):
            if limit is not None and len(self._offsets) == limit:
                break
            if not line.strip():
                continue
            task, own = self._read(line, number)
            if split != "all" and split_of(question_text(task)) != split:
                continue
            times, first = seen.get(task.id, (0, number))
            if times and own:
                raise ValueError(f"{path.name} line {number}: the id {task.id!r} was used on line {first}; ids must be unique")
            seen[task.id] = (times + 1, first)
            if times:
                self._renamed[len(self._offsets)] = f"{task.id}#{times + 1}"
            self._offsets.append(self._bytes.tell() - len(line))
            self._lines.append(number)
        if not self._offsets:
            raise ValueError(f"{path} has no tasks" + (f" in the split {split!r}" if split != "all" else ""))

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Task:
        if not -len(self) <= index < len(self):
            raise IndexError(f"task {index} of {len(self)}")
        at = index % len(self)
        self._bytes.seek(self._offsets[at])
        task, _ = self._read(self._bytes.readline(), self._lines[at])
        return replace(task, id=self._renamed.get(at, task.id))

    def _read(self, line: bytes, number: int) -> tuple[Task, bool]:
        """The task on a line, and whether its id is the file's own."""
        row = self._row(line, number)
        if self.format is None:
            self.format = detect(row)
        try:
            task = FORMATS[self.format](row)
        except ValueError as error:
            raise ValueError(f"{self.path.name} line {number}: {error}") from None
        own = task.id != ""
        name = self.path.name.removesuffix(".gz").removesuffix(".jsonl")
        answer = msgspec.json.encode(task.answer, order="deterministic").decode()
        system = ({"role": "system", "content": self.system},) if self.system else ()
        made = replace(
            task,
            id=task.id or f"{name}/{content_hash(question_text(task) + answer)[:12]}",
            source=task.source or name,
            extract=self.extract or task.extract,
            prompt=system + task.prompt,
        )
        return made, own

    def _row(self, line: bytes, number: int) -> Row:
        where = f"{self.path.name} line {number}"
        try:
            row: Any = _decoder.decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{where}: not JSON ({error}); expected one JSON object a line") from None
        if not isinstance(row, dict):
            raise ValueError(f"{where}: found {row!r:.60}; expected one JSON object a line")
        return row


def jsonl(
    path: str | Path,
    *,
    format: str | None = None,
    split: str = "all",
    limit: int | None = None,
    extract: str | None = None,
    system: str | None = None,
) -> JsonlTasks:
    """The tasks of a .jsonl or .jsonl.gz file, or its first ``limit``.

    ``format`` (gsm8k, math, humaneval, plain; see ``journeyman.tasks.formats``) is told from the fields of the first line
    when None, and every line must have it. ``extract`` overrides how answers are read: gsm8k "number", math "boxed", else
    "text" or the line's own. ``split`` "train", "validation" or "heldout" keeps that share (0.8, 0.1, 0.1) by the content of
    the question; "all" keeps every line. ``system`` is put before each prompt.

    Ids are unique: the file's own where it has them (a repeated one is an error), else the file's name and a hash of question
    and answer, with #2, #3 ... where a line repeats another. Raises ValueError in one line, with file, line and field.
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"no format is named {format!r}; write one of {', '.join(FORMATS)}")
    if split not in (*SPLITS, "all"):
        raise ValueError(f"found split={split!r}; write one of {', '.join(SPLITS)}, all")
    if limit is not None and limit < 1:
        raise ValueError(f"found limit={limit}; expected at least 1 task")
    if extract is not None:
        extractor(extract)
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return JsonlTasks(path, format, split, limit, extract, system)


def mapped(path: Path) -> mmap.mmap:
    """The bytes of a file, mapped, not read; of a decompressed temporary copy for a gzip file."""
    with path.open("rb") if path.suffix != ".gz" else tempfile.TemporaryFile() as file:
        if path.suffix == ".gz":
            try:
                with gzip.open(path, "rb") as packed:
                    shutil.copyfileobj(packed, file)
            except (OSError, EOFError, zlib.error) as error:
                raise ValueError(f"{path} is not a whole gzip file: {error}") from None
            file.flush()
        if file.seek(0, os.SEEK_END) == 0:
            raise ValueError(f"{path} is empty; expected one JSON object a line")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
