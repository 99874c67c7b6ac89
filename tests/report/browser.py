"""A real browser for tests: Chromium without a window, driven over two pipes by the DevTools protocol; standard library only."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
)
# Chromium reads commands from file 3 and writes answers to file 4.
PIPES = """
import os, sys
a, b = os.dup(int(sys.argv[1])), os.dup(int(sys.argv[2]))
os.dup2(a, 3)
os.dup2(b, 4)
os.set_inheritable(3, True)  # where a was 3 already, dup2 has done nothing
os.set_inheritable(4, True)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One tab. ``problems`` holds every error that a page has told: exceptions, failed loads, refused content; ``loads`` the
    addresses that were asked for."""

    def __init__(self) -> None:
        if CHROMIUM is None:
            raise ValueError("no chromium, chromium-browser, google-chrome or chrome on the PATH; install one")
        self.problems: list[str] = []
        self.loads: list[str] = []
        self._home = tempfile.TemporaryDirectory(prefix="chromium")
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        line = [sys.executable, "-c", PIPES, str(commands), str(answers), CHROMIUM, *FLAGS, "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            [*line, f"--user-data-dir={self._home.name}", "about:blank"],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._number, self._buffer, self._session = 0, b"", None
        self._loaded = 0
        try:
            self._attach()
        except BaseException:
            self._process.kill()
            self._leave()
            raise

    def _attach(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None
        self.call("Browser.close")
        self._leave()

    def _leave(self) -> None:
        self._process.wait(timeout=30)
        os.close(self._write)
        os.close(self._read)
        for _ in range(50):  # a process of the browser may still be writing there
            shutil.rmtree(self._home.name, ignore_errors=True)
            if not Path(self._home.name).exists():
                break
            time.sleep(0.1)
        self._home.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result; ValueError with the browser's reason where it fails."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        os.write(self._write, json.dumps(asked | ({"sessionId": self._session} if self._session else {})).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") == self._number:
                if "error" in found:
                    raise ValueError(f"{method}: {found['error']}")
                return found["result"]

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], 60)[0]:
                raise TimeoutError("the browser has said nothing for 60 s")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise ConnectionError("the browser has ended")
            self._buffer += part
        head, _, self._buffer = self._buffer.partition(b"\0")
        found = json.loads(head)
        method, told = found.get("method"), found.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.problems.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.loads.append(told["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded += 1
        return found

    def size(self, width: int, height: int = 900, dark: bool = False) -> None:
        """The window's inside in CSS pixels, and the preferred colours."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 640)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])

    def open(self, address: str) -> None:
        """Go to a page and wait for its load event."""
        before = self._loaded
        self.call("Page.navigate", url=address)
        while self._loaded == before:
            self._message()

    def value(self, script: str) -> Any:
        """A JavaScript expression's value as JSON (an element has none: it is {}); a promise is awaited."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise ValueError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 30) -> Any:
        """The expression's value as soon as it is true."""
        end = time.monotonic() + seconds
        while not (found := self.value(script)):
            if time.monotonic() > end:
                raise TimeoutError(
                    f"not true after {seconds} s: {script}; the page says: {self.value('document.body.innerText')[:600]}"
                )
            time.sleep(0.1)
        return found

    def shot(self, path: Path, whole: bool = True) -> None:
        """Save what is seen, or the ``whole`` page, as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
