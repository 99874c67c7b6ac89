"""The demo's own command, one step of it: without a network, without a terminal, from another directory."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parent.parent / "Makefile"
SHORT = {"--steps": "1", "--eval-n": "6", "--max-tokens": "64"}


def offline() -> list[str]:
    """What to put before a command to take its network away."""
    if shutil.which("unshare") and subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0:
        return ["unshare", "-rn"]
    pytest.skip("this machine lets nobody make a network namespace (unshare -rn)")


def test_offline_without_a_terminal_and_from_elsewhere(tmp_path):
    without = offline()
    probe = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    assert subprocess.run([*without, sys.executable, "-c", probe], capture_output=True).returncode != 0
    line = re.search(r"^DEMO := (.*)$", MAKEFILE.read_text(), re.MULTILINE)
    assert line is not None
    flags = shlex.split(line[1])
    for name, value in SHORT.items():
        flags[flags.index(name) + 1] = value
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "TERM", "COLUMNS")} | {"HOME": str(tmp_path)}

    def journeyman(*words: str) -> str:
        command = [*without, sys.executable, "-m", "journeyman", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        assert b"\x1b" not in done.stdout + done.stderr  # nothing that only a terminal would understand
        return done.stdout.decode()

    assert "pass@1" in journeyman("run", *flags, "--out", "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["training"]["steps"] == 1
    journeyman("report", "run")
    page = next((tmp_path / "run").glob("*.html"))
    assert not re.search(r"""(src|href)=["']https?://""", page.read_text())
