"""Size caps (docs/design.md): loop.py 60 lines, a module 400, a part 150, a function 60. Exit 1 names what is over."""

import ast
import subprocess
import sys
from pathlib import Path

FAMILIES = {"strategies", "feedback", "credit", "objectives", "curricula", "recipes"}


def cap(path: Path) -> int:
    if path.name == "loop.py" and path.parent.name == "journeyman":
        return 60
    return 150 if path.parent.name in FAMILIES else 400


def over(path: Path) -> list[str]:
    text = path.read_text()
    lines = text.count("\n")
    found = [f"{path}: {lines} lines, at most {cap(path)}"] if lines > cap(path) else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > 60:
                found.append(f"{path}:{node.lineno} {node.name}: {length} lines, at most 60")
    return found


tracked = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True).stdout.split()
problems = [p for f in tracked if not f.startswith("tests/") and Path(f).exists() for p in over(Path(f))]
print("\n".join(problems))
sys.exit(bool(problems))
