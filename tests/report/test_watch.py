"""``watch`` serves the report, notices a change, leaves the run alone and ends."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest

from journeyman.report import watch
from journeyman.store import Store
from journeyman.testing import sums
from journeyman.types import Answer, Attempt


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "läuft 走る").create({"recipe": "grpo", "arguments": {"steps": 2}}) as store:
        yield store


@pytest.fixture
def address(run: Store) -> Iterator[str]:
    ready: Queue[ThreadingHTTPServer] = Queue()
    thread = Thread(target=watch, args=(run.folder, 0, ready.put, 0.0))
    thread.start()
    server = ready.get(timeout=30)
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(timeout=30)
    assert not thread.is_alive()


def get(url: str, host: str | None = None) -> str:
    request = urllib.request.Request(url, headers={} if host is None else {"Host": host})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def test_the_page_follows_the_run(run: Store, address: str) -> None:
    whole, first = get(f"{address}/"), json.loads(get(f"{address}/version"))["version"]
    assert "0 of 2 steps ended" in whole
    assert first in whole
    assert json.loads(get(f"{address}/version"))["version"] == first
    task = sums(1)[0]
    run.begin_step(1)  # the run writes while it is watched
    run.put_attempt(1, 0, 0, task, Attempt("1/0/0", task.id, Answer("seventeen")))
    run.end_step(1, {"accuracy": 0.0})
    end = time.monotonic() + 30  # a reading takes five times its own length to be repeated
    while "1 of 2 steps ended" not in (part := get(f"{address}/part")):
        assert time.monotonic() < end
    second = json.loads(get(f"{address}/version"))
    assert second["version"] != first
    assert second["state"] == "running"
    assert "seventeen" in part
    assert "plotly" not in part
    assert run.counts()["attempts"] == 1


@pytest.mark.parametrize(
    ("path", "host", "status"), [("/run.sqlite", None, 404), ("/../run.sqlite", None, 404), ("/", "evil.example", 403)]
)
def test_nothing_else_is_served(address: str, path: str, host: str | None, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        get(address + path, host)
    assert error.value.code == status
    error.value.close()


def test_a_folder_that_is_gone_is_told_and_the_server_stays(run: Store, address: str) -> None:
    def ask() -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:  # a reading takes five times its own length to be repeated
            get(f"{address}/version")

    assert json.loads(get(f"{address}/version"))["state"] == "running"
    run.close()
    assert json.loads(get(f"{address}/version"))["state"] == "stopped"
    assert "no process is writing this run" in get(f"{address}/part")
    (run.folder / "run.lock").unlink()
    assert json.loads(get(f"{address}/version"))["state"] == "stopped"
    shutil.rmtree(run.folder)
    with pytest.raises(urllib.error.HTTPError) as error:
        ask()
    with error.value as told:
        assert told.code == 503
        assert "走る holds no run" in told.read().decode()
    with pytest.raises(urllib.error.HTTPError) as error:
        get(f"{address}/")
    error.value.close()


def test_no_run_and_a_taken_port_are_told(tmp_path: Path, run: Store, address: str) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        watch(tmp_path / "nothing")
    with pytest.raises(ValueError, match="cannot be served"):
        watch(run.folder, int(address.rsplit(":", 1)[1]))
    with pytest.raises(ValueError, match="cannot be served"):
        watch(run.folder, 70_000)
