"""What the documents say is there is there."""

import importlib.util
import re
from pathlib import Path

import pytest

from journeyman import credit, curricula, feedback, learners, objectives, recipes, strategies

ROOT = Path(__file__).parent.parent


def test_every_part_is_in_the_list_of_methods():
    text = (ROOT / "docs" / "methods.md").read_text()
    names = {n for family in (strategies, feedback, curricula, credit, objectives, learners, recipes) for n in family.__all__}
    missing = sorted(n for n in names if f"| `{n}` |" not in text)
    assert not missing, "run python scripts/methods_doc.py"


@pytest.mark.parametrize("page", ["README.md", "docs/design.md", "docs/add_a_method.md", "docs/methods.md", "CHANGELOG.md"])
def test_links_and_named_files_exist(page):
    text = (ROOT / page).read_text()
    here = (ROOT / page).parent
    links = [x for x in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in x]
    files = re.findall(r"`((?:journeyman|scripts|tests|docs|runs|examples)/[\w./]+\.\w+)`", text)
    assert [x for x in links if not (here / x).exists()] == []
    assert [x for x in files if not (ROOT / x).exists()] == []


def test_the_commands_of_the_readme_name_recipes_that_exist():
    named = re.findall(r"journeyman run (\w+)", (ROOT / "README.md").read_text())
    assert named
    assert set(named) <= set(recipes.__all__)


def test_the_loop_from_scratch_runs(capsys):
    path = ROOT / "examples" / "loop_from_scratch.py"
    assert "journeyman" not in re.sub(r'""".*?"""', "", path.read_text(), flags=re.S)
    spec = importlib.util.spec_from_file_location("loop_from_scratch", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    learned, control = module.main(passes=2, rounds=2, batch=100)
    assert len(learned) == len(control) == 3
    assert "verified" in capsys.readouterr().out


def test_the_loop_is_one_screen():
    assert (ROOT / "journeyman" / "loop.py").read_text().count("\n") <= 60
