"""The report and the live page in a real browser: what is drawn, what fits, what can be filtered, what follows a run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest

from journeyman.report import watch, write_report
from tests.report.browser import CHROMIUM, Browser
from tests.report.made import HOSTILE, hostile_run

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH; these tests look at the page in a real browser")

DRAWN = "[...document.querySelectorAll('[data-figure]')].every(box => box.querySelector('.main-svg'))"
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Texts of a plot that stick out of its box, and legends that lie over the plotting area.
CUT = """[...document.querySelectorAll('[data-figure]')].flatMap(box => { const b = box.getBoundingClientRect();
  return [...box.querySelectorAll('.main-svg text')].filter(t => { const r = t.getBoundingClientRect();
    return r.width && (r.left < b.left - 1 || r.right > b.right + 1 || r.top < b.top - 1 || r.bottom > b.bottom + 1); })
    .map(t => box.dataset.figure + ': ' + t.textContent); })"""
COVERED = """[...document.querySelectorAll('[data-figure]')].filter(box => { const legend = box.querySelector('.legend');
  return legend && legend.getBoundingClientRect().bottom > box.querySelector('.nsewdrag').getBoundingClientRect().top + 1; })
  .map(box => box.dataset.figure)"""
# A process that holds a run's lock and does what each line of its standard input says.
WRITER = """
import json, sys
from pathlib import Path
from journeyman.store import Store
from journeyman.types import Answer, Attempt, Judgement, Task, user
folder = Path(sys.argv[1])
store = Store(folder).open() if folder.exists() else Store(folder).create({"recipe": "grpo", "arguments": {"steps": 3}})
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "end":
        (folder / "result.json").write_text(sys.argv[2])
        break
    step = int(line)
    store.begin_step(step)
    for i in range(4):
        task = Task(f"t{i}", user(f"question {i}"), source="sums")
        store.put_attempt(step, i, 0, task, Attempt(f"{step}/{i}/0", task.id, Answer(f"the answer of step {step}")))
        store.put_judgements([Judgement(f"{step}/{i}/0", float(i < step))])
    store.end_step(step, {"accuracy": step / 4, "seconds": 1.0})
    print("ready", flush=True)
store.close()
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(run, tmp_path_factory.mktemp("page") / "report.html")


def show(browser: Browser, path: Path) -> None:
    browser.problems.clear()
    browser.loads.clear()
    browser.open(path.as_uri())
    browser.wait(DRAWN)


@pytest.mark.parametrize("width", [1440, 768, 390])
def test_the_report_fits_and_loads_nothing(browser: Browser, page: Path, width: int) -> None:
    browser.size(width)
    show(browser, page)
    assert browser.value("document.querySelectorAll('[data-figure] .main-svg').length") >= 8
    assert browser.value(TOO_WIDE) <= 0
    assert browser.value(CUT) == []
    assert browser.value(COVERED) == []
    assert browser.problems == []
    assert {address.partition(":")[0] for address in browser.loads} <= {"file", "data", "blob"}


def test_plots_follow_the_width_of_the_window(browser: Browser, page: Path) -> None:
    browser.size(1440)
    show(browser, page)
    for width in (390, 1440):
        browser.size(width)
        fits = "Math.abs(box.querySelector('.main-svg').getBoundingClientRect().width - box.clientWidth) < 1"
        browser.wait(f"[...document.querySelectorAll('[data-figure]')].every(box => {fits})", 5)
        assert browser.value(TOO_WIDE) <= 0


def test_light_and_dark(browser: Browser, page: Path) -> None:
    seen: list[tuple[str, str]] = []
    for dark in (False, True):
        browser.size(1440, dark=dark)
        show(browser, page)
        text = "getComputedStyle(document.querySelector('[data-figure] .ytick text')).fill"
        seen.append((browser.value("getComputedStyle(document.body).backgroundColor"), browser.value(text)))
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] != seen[1][1]
    browser.value("document.getElementById('theme').click()")  # back to light, whatever the system prefers
    assert browser.value("getComputedStyle(document.body).backgroundColor") == seen[0][0]


def test_attempts_are_filtered(browser: Browser, page: Path) -> None:
    browser.size(1440)
    show(browser, page)
    attempts = browser.value("JSON.parse(document.getElementById('data').textContent).attempts")
    first = attempts[0]
    wanted = {
        "task": (first["task"], lambda a: a["task"] == first["task"]),
        "family": (
            f"{first['family']} · level {first['level']}",
            lambda a: (a["family"], a["level"]) == (first["family"], first["level"]),
        ),
        "outcome": ("correct", lambda a: a["outcome"] == "correct"),
        "step": ("2", lambda a: a["step"] == 2),
        "role": ("solver", lambda a: any(t["role"] == "solver" for t in a["traces"])),
    }
    for name, (value, fits) in wanted.items():
        number = sum(map(fits, attempts))
        assert 0 < number <= len(attempts)
        choose = f"(() => {{ const f = document.getElementById('f-{name}'); f.value = {json.dumps(value)};"
        browser.value(choose + " f.dispatchEvent(new Event('change')); })()")
        told = browser.value("document.getElementById('found').textContent")
        assert told == f"{number} of {len(attempts)} shown here match."
        assert browser.value("document.querySelectorAll('.attempt').length") == min(number, 40)
        browser.value(f"document.getElementById('f-{name}').value = ''")


@pytest.mark.parametrize("width", [1440, 390])
def test_hostile_texts_are_seen_and_do_nothing(browser: Browser, tmp_path: Path, width: int) -> None:
    browser.size(width)
    show(browser, write_report(hostile_run(tmp_path / "run"), tmp_path / "r.html"))
    browser.value("document.querySelectorAll('.attempt > summary').forEach(head => head.click())")
    browser.wait("document.querySelectorAll('.attempt .inside').length === 3")
    assert browser.value("document.querySelectorAll('img, iframe, object').length") == 0
    assert browser.value("document.scripts.length") == 5  # headline, data, plotly packed and unpacked, ours
    shown = HOSTILE.replace("\x1b", "\\x1b")
    assert shown in browser.value("document.querySelector('h1').textContent")
    assert "\x1b" not in browser.value("document.body.innerText")
    for part in (".attempt .one", ".inside pre", ".trace .mark", ".trace .meta b"):
        assert browser.value(f"document.querySelector({json.dumps(part)}).textContent").startswith(shown.split()[0])
    assert browser.value("document.querySelector('.attempt .one').textContent") == shown
    assert "critic" in browser.value("document.querySelector('.trace .trace').textContent")  # inside its parent
    assert "value 0.5" in browser.value("document.querySelector('.trace .trace').textContent")
    assert "score 0.25" in browser.value("document.querySelector('.trace .trace').textContent")
    assert browser.value("Math.max(...[...document.querySelectorAll('pre')].map(p => p.textContent.length))") < 15_000
    assert browser.value(TOO_WIDE) <= 0
    assert browser.problems == []


# ---------------------------------------------------------------------------------------- live


class Writer:
    """A run in a process of its own, as far as its folder can tell."""

    def __init__(self, folder: Path, result: str = "{}") -> None:
        line = [sys.executable, "-c", WRITER, str(folder), result]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin
        assert self.process.stdout
        self.told, self.heard = self.process.stdin, self.process.stdout
        assert self.heard.readline() == "ready\n"

    def step(self, number: int) -> None:
        print(number, file=self.told, flush=True)
        assert self.heard.readline() == "ready\n"

    def close(self, kill: bool = False) -> None:
        if kill:
            self.process.send_signal(signal.SIGKILL)
        else:
            print("end", file=self.told, flush=True)
        assert self.process.wait(timeout=30) == (-signal.SIGKILL if kill else 0)
        self.told.close()
        self.heard.close()


def test_the_live_page_follows_a_run_its_death_and_its_end(browser: Browser, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    writer = Writer(folder)
    ready: Queue[ThreadingHTTPServer] = Queue()
    thread = Thread(target=watch, args=(folder, 0, ready.put, 0.0))
    thread.start()
    server = ready.get(timeout=30)
    pulse = "document.getElementById('pulse').textContent"
    try:
        browser.size(1440)
        browser.page.add_init_script(
            "{ const later = setTimeout; window.setTimeout = (f, ms, ...more) => later(f, Math.min(ms, 100), ...more); }"
        )
        browser.problems.clear()
        browser.open(f"http://127.0.0.1:{server.server_port}/")
        browser.value("window.same = true")
        assert browser.value(pulse) == "live"
        assert "0 of 3 steps ended" in browser.value("document.body.innerText")
        writer.step(1)
        browser.wait("document.body.innerText.includes('1 of 3 steps ended')")
        browser.wait(f"document.querySelectorAll('[data-figure]').length > 0 && {DRAWN}")
        browser.value("document.querySelector('.attempt > summary').click()")
        browser.wait("document.querySelectorAll('.attempt .inside').length")
        writer.step(2)
        browser.wait("document.querySelectorAll('.attempt').length === 8")
        assert "time left, about" in browser.value("document.body.innerText")
        assert browser.value("document.querySelectorAll('.attempt[open]').length") == 1  # what was open stays open
        writer.close(kill=True)
        browser.wait(f"{pulse} === 'the run was stopped'")
        browser.wait("document.body.innerText.includes('--resume')")
        assert browser.value("document.querySelectorAll('.attempt').length") == 8  # all that it had stored
        writer = Writer(folder, (run / "result.json").read_text())  # resumed
        browser.wait(f"{pulse} === 'live'")
        writer.step(3)
        browser.wait("document.querySelectorAll('.attempt').length === 12")
        writer.close()
        browser.wait(f"{pulse} === 'the run has ended'")
        browser.wait("document.querySelectorAll('.pill.done').length")
        assert "paired change" in browser.value("document.body.innerText")
        assert browser.value("window.same") is True  # it was never loaded again
        assert browser.problems == []
    finally:
        server.shutdown()
        thread.join(timeout=30)
        if writer.process.poll() is None:
            writer.close(kill=True)
    browser.size(390)
    browser.wait(f"{pulse}.startsWith('the server is gone')")
    assert browser.value(TOO_WIDE) <= 0
