"""Size caps (docs/design.md): loop.py 60 lines, a file of a part 80, a recipe and what parts share 150, a module 400, a function
60. Exit 1 names what is over."""

import ast
import subprocess
import sys
from pathlib import Path

PARTS = {"strategies", "feedback", "credit", "objectives", "curricula"}

# A longer part, its cap, and why it is not split.
LONGER = {
    "feedback/gym.py": 110,  # what fails closed around the library's scorers is read, and reviewed, as one
    "feedback/math_equal.py": 100,  # the order of its stages is the method; each is a few lines that only this part uses
}


def cap(path: Path) -> int:
    family = path.parent.name
    if path.name == "loop.py" and family == "journeyman":
        return 60
    if family in PARTS and path.stem != "__init__" and defined(path) & catalogue(path.parent):
        return LONGER.get(f"{family}/{path.name}", 80)
    return 150 if family in PARTS | {"recipes"} else 400


def defined(path: Path) -> set[str]:
    """The classes and functions that a file defines."""
    kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, kinds)}


def catalogue(folder: Path) -> set[str]:
    """The parts of a family: its ``__all__``."""
    for node in ast.parse((folder / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    raise ValueError(f"{folder}/__init__.py has no __all__, which lists a family's parts")


def over(path: Path) -> list[str]:
    text = path.read_text()
    lines = text.count("\n")
    found = [f"{path}: {lines} lines, at most {cap(path)}"] if lines > cap(path) else []
    if path.suffix != ".py":
        return found
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > 60:
                found.append(f"{path}:{node.lineno} {node.name}: {length} lines, at most 60")
    return found


command = ["git", "ls-files", "-co", "--exclude-standard", "*.py", "*.cpp", "*.h"]
listed = subprocess.run(command, capture_output=True, text=True, check=True)
problems = [p for f in listed.stdout.split() if not f.startswith("tests/") and Path(f).exists() for p in over(Path(f))]
print("\n".join(problems))
sys.exit(bool(problems))
