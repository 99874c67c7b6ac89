"""Every option of every command says in a sentence what it does, and help fits a terminal."""

import inspect

import pytest

from journeyman import recipes
from journeyman.cli import app, main, run_app
from journeyman.flags import flags_of, flags_of_fields

COMMANDS = [
    ["eval"],
    ["compare"],
    ["show"],
    ["methods"],
    ["pretrain"],
    ["bench"],
    ["export"],
    ["sft"],
    ["report"],
    ["watch"],
    ["run"],
    *(["run", r] for r in recipes.__all__),
]


def arguments(words):
    found = run_app[words[1]] if len(words) == 2 else app[words[0]]
    return found.assemble_argument_collection(parse_docstring=True)


def test_commands_are_all_listed():
    assert {name for name in app if not name.startswith("-")} == {words[0] for words in COMMANDS}
    assert {name for name in run_app if not name.startswith("-")} >= set(recipes.__all__)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_explained(words):
    found = arguments(words)
    assert found or words == ["methods"]
    for argument in found:
        said = argument.parameter.help or ""
        assert len(said.split()) >= 2, (argument.name, said)
        assert said.endswith("."), (argument.name, said)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_fits_a_terminal(words, capsys):
    assert main([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: journeyman {' '.join(words)}")
    assert "----------" not in shown  # a docstring's section that was not understood
    assert "Args:" not in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


@pytest.mark.parametrize("name", recipes.__all__)
def test_recipe_flags(name):
    recipe = getattr(recipes, name)
    flags = {p.name: p for p in flags_of(recipe)}
    for p in inspect.signature(recipe).parameters.values():
        assert flags[p.name].default == p.default
        assert flags[p.name].annotation.__origin__ is type(p.default)


def test_types_are_those_of_the_annotation():
    def mine(policy="base", lr: float = 1, k: int | None = None, how: "str" = "a", odd=None, on: bool = True):
        """Mine."""

    types = {p.name: p.annotation.__origin__ for p in flags_of(mine)}
    assert types == {"policy": str, "lr": float, "k": int | None, "how": str, "odd": str | None, "on": bool}


def test_fields_without_default_are_required():
    from journeyman.assemble import Options

    assert [p.name for p in flags_of_fields(Options) if p.default is p.empty] == ["out"]


def test_a_description_of_two_lines_is_whole_and_a_type_is_left_out():
    def mine(policy="base", rounds=3, lr=0.1):
        """Mine.

        Parameters
        ----------
        policy: Model folder, or base,
            or a path.
        rounds : int
            How many rounds.
        lr: float
        """

    said = {p.name: p.annotation.__metadata__[0].help for p in flags_of(mine)}
    assert said == {"policy": "Model folder, or base, or a path.", "rounds": "How many rounds.", "lr": "float"}
