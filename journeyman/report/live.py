"""The report live: a page on 127.0.0.1 that follows a run while it goes on, and only reads it."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from urllib.parse import urlsplit

from journeyman.report.facts import Facts, gather
from journeyman.report.page import render

WATCHED = ("run.sqlite", "run.sqlite-wal", "before.json", "result.json")
HOSTS = ("127.0.0.1", "localhost")


class Follower:
    """The newest facts of a run folder. They are read again when a file of it has changed, but not before ``pause`` seconds
    and five times as long as the last reading took, so that following a large run costs at most a sixth of one core."""

    def __init__(self, folder: str | os.PathLike[str], pause: float = 2.0) -> None:
        self.folder, self.pause = Path(folder), pause
        self._lock = Lock()
        self._next = 0.0
        self._read(self._stamp())

    def facts(self) -> tuple[str, Facts, str]:
        """The version of what is known, what is known, and the run's state, which is part of the version."""
        with self._lock:
            stamp = self._stamp()
            if stamp != self._version and time.monotonic() >= self._next:
                self._read(stamp)
            state = self._state()
            return f"{self._version}.{state}", self._facts, state

    def _state(self) -> str:
        """ "running" while a process holds the folder's lock; without one "ended" where the result is there, which a run writes
        last of all, else "stopped". The kernel gives a lock back however its process dies, so a killed run has stopped."""
        with suppress(FileNotFoundError):  # a copy of a run folder may come without the file
            file = os.open(self.folder / "run.lock", os.O_RDONLY)
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # given back at once, by close
            except BlockingIOError:
                return "running"
            finally:
                os.close(file)
        return "ended" if (self.folder / "result.json").is_file() else "stopped"

    def _read(self, stamp: str) -> None:
        began = time.monotonic()
        self._facts, self._version = gather(self.folder), stamp
        self._next = time.monotonic() + max(self.pause, 5 * (time.monotonic() - began))

    def _stamp(self) -> str:
        """Changes when a file of the run does. Taken before reading: a change during it is then seen next time."""
        found = []
        for name in WATCHED:
            try:
                known = (self.folder / name).stat()
            except FileNotFoundError:
                found.append("0")
            else:
                found.append(f"{known.st_mtime_ns:x}-{known.st_size:x}")
        return ".".join(found)


def watch(
    folder: str | os.PathLike[str], port: int = 0, ready: Callable[[ThreadingHTTPServer], None] | None = None, pause: float = 2.0
) -> None:
    """Serve a run's report on 127.0.0.1 until Ctrl-C. ``port`` 0 takes a free one; the address is told on standard error.
    ``ready`` is called with the server before it serves. ValueError where there is no run or the port is taken."""
    follower = Follower(folder, pause)
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler(follower))
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"port {port} of 127.0.0.1 cannot be served ({error}); write another --port, or none for a free one"
        ) from error
    with server:
        print(f"journeyman: http://127.0.0.1:{server.server_port}/ shows {folder}; Ctrl-C ends it", file=sys.stderr, flush=True)
        if ready is not None:
            ready(server)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print("\njourneyman: stopped watching; the run goes on undisturbed", file=sys.stderr)


def handler(follower: Follower) -> type[BaseHTTPRequestHandler]:
    """The answers: / the page, /part the page without scripts and styles, /version what it was drawn from."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in HOSTS:
                self.send_error(403, "only this machine is served")  # another site's name may be made to point here
                return
            path = urlsplit(self.path).path
            if path not in ("/", "/part", "/version"):
                self.send_error(404)
                return
            try:
                version, facts, state = follower.facts()
            except ValueError as error:  # the folder was removed or damaged while it was watched
                self._send(" ".join(str(error).split())[:200], "text/plain; charset=utf-8", 503)
                return
            if path == "/version":
                self._send(json.dumps({"version": version, "state": state}), "application/json")
            else:
                self._send(render(facts, version, path == "/", state), "text/html; charset=utf-8")

        def _send(self, text: str, kind: str, status: int = 200) -> None:
            body = text.encode("utf-8", "replace")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            with suppress(ConnectionError):  # the reader closed the page meanwhile
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return None

    return Answers
