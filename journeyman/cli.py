"""The command line. Exit status: 0 done, 1 failed, 2 misuse with a one-line reason on standard error."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import json
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import App, Parameter
from rich.console import Console

import journeyman
from journeyman import recipes, strategies
from journeyman.assemble import Misuse, Options, Recipe, assembly, find_recipe, restart, start
from journeyman.evals import summarise
from journeyman.evaluation import Exam, choose
from journeyman.export import export_rollouts
from journeyman.feedback import auto
from journeyman.literal import parse
from journeyman.policies import Decoder, load_policy
from journeyman.pretrain import Recipe as PretrainRecipe
from journeyman.pretrain import pretrain as pretrain_base
from journeyman.runner import all_needs
from journeyman.show import methods_table, result_table, show_recipe
from journeyman.store import Store, load_checkpoint
from journeyman.tasks import load_tasks
from journeyman.types import Sampling

app = App(name="journeyman", help="Make language models reason better by expert iteration.", version=journeyman.__version__)
run_app = App(name="run", help="Train: journeyman run RECIPE --out DIR, or continue: journeyman run --resume DIR.")
app.command(run_app)
Flat = Parameter(name="*")


def run_command(recipe: Recipe, name: str) -> Callable[..., None]:
    """The command of a recipe, generated from its signature, with the options every run takes."""

    def command(*, options: Options, **arguments: Any) -> None:
        finish(start(name, arguments, options))

    written = [
        p.replace(kind=p.KEYWORD_ONLY, annotation=type(p.default) if isinstance(p.default, int | float | str) else str)
        for p in inspect.signature(recipe).parameters.values()
    ]
    options = inspect.Parameter("options", inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Options, Flat])
    command.__signature__ = inspect.Signature([*written, options])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in (*written, options)}
    command.__name__, command.__doc__ = name, recipe.__doc__
    return command


for recipe_name in recipes.__all__:
    run_app.command(run_command(getattr(recipes, recipe_name), recipe_name), name=recipe_name)


@run_app.default
def resume_command(*, resume: Path) -> None:
    """Continue a run from its last checkpoint.

    Parameters
    ----------
    resume: Folder of a run that was stopped or killed.
    """
    finish(restart(resume))


@app.command(name="sft")
def sft_command(*, tasks: str, options: Annotated[Options, Flat], policy: str = "base", steps: int = 100, lr: float = 1e-3) -> None:
    """Fine-tune on the tasks' own solutions (short for: journeyman run sft).

    Parameters
    ----------
    tasks: Task file or gym:FAMILY@LEVEL.
    policy: Model folder, or base.
    """
    finish(start("sft", {"tasks": tasks, "policy": policy, "steps": steps, "lr": lr}, options))


def finish(folder: Path) -> None:
    """Show what a run has changed."""
    result = json.loads((folder / "result.json").read_text())
    console = Console()
    console.print(result_table(result))
    console.print(f"run folder: {folder}", highlight=False)


@app.command(name="eval")
def eval_command(
    *,
    policy: str = "base",
    tasks: str = "gym:chain_sum",
    strategy: str = "sample",
    k: int = 1,
    n: int | None = None,
    temperature: float = 1.0,
    max_tokens: int = 256,
    top_p: float = 1.0,
    split: Literal["train", "validation", "heldout", "all"] | None = None,
    extract: str | None = None,
    system: str | None = None,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Measure a strategy on tasks: pass@1, pass@k and maj@k with 95 % intervals.

    Parameters
    ----------
    policy: Model folder, or base.
    tasks: gym:FAMILY@LEVELS, or a .jsonl file (GSM8K, MATH-500, HumanEval or prompt/answer lines).
    strategy: A strategy such as sample, vote(n=16) or best_of_n(n=8).
    k: Attempts at each task.
    n: How many tasks (default: all of a file, 300 of a generator).
    split: Which part of the tasks (default: heldout of a generator, all of a file).
    extract: How the final answer is read: boxed, answer, hashes, number or text (default: the tasks' own).
    system: A system prompt.
    as_json: Print one JSON document and nothing else.
    """
    with assembly():
        if k < 1 or (n is not None and n < 1):
            raise Misuse(f"k and n are at least 1: found k={k}, n={n}")
        generated = tasks.startswith("gym:")
        part = split or ("heldout" if generated else "all")
        source = load_tasks(
            tasks, split=part, limit=n or (300 if generated else None), extract=extract, system=system
        )
        expert = parse(strategy, strategies)
        actor = load_policy(policy, device=device, dtype=dtype)
        sampling = Sampling(max_tokens, temperature, top_p)
        exam = Exam(choose(source, n), auto(), expert, k, sampling, seed)
    groups = asyncio.run(exam.sit({"policy": actor}))
    report = summarise(groups, k=k)
    if as_json:
        settings = {
            "policy": policy,
            "tasks": tasks,
            "strategy": strategy,
            "split": part,
            "seed": seed,
            "temperature": temperature,
        }
        print(json.dumps({**settings, "oracle": uses_oracle(expert), **report.to_json()}))
    else:
        Console().print(report.table(f"{policy} · {strategy}{' (oracle)' if uses_oracle(expert) else ''} · {tasks}"))


def uses_oracle(strategy: Any) -> bool:
    return "oracle" in all_needs(strategy)


@app.command(name="show")
def show_command(recipe: str) -> None:
    """Print a recipe's loop and the source of each of its parts, in the order they run.

    Parameters
    ----------
    recipe: Name of a recipe, or ./my_recipe.py.
    """
    known_recipe(recipe)
    with assembly():
        text = show_recipe(find_recipe(recipe), recipe)
    Console().print(text) if sys.stdout.isatty() else print(text.code)


@app.command(name="methods")
def methods_command(*, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False) -> None:
    """List every part and recipe, what it needs and gives, and its paper.

    Parameters
    ----------
    as_json: Print one JSON document and nothing else.
    """
    rows, table = methods_table()
    if as_json:
        print(json.dumps(rows))
    else:
        Console().print(table)


@app.command(name="pretrain")
def pretrain_command(*, out: Path, recipe: Annotated[PretrainRecipe | None, Flat] = None) -> None:
    """Pretrain a small base model on the traces of exact solvers; continues if killed.

    Parameters
    ----------
    out: Model folder to write.
    """
    with assembly():
        folder = pretrain_base(recipe or PretrainRecipe(), out, note=lambda text: print(text, file=sys.stderr, flush=True))
    print(folder)


@app.command(name="export")
def export_command(
    folder: Path, *, out: Path, what: Literal["rollouts", "model"] = "rollouts", kind: Literal["parquet", "jsonl"] = "jsonl"
) -> None:
    """Write a run's rollouts (one row a trace) or its trained model (a Hugging Face folder).

    Parameters
    ----------
    folder: Folder of a run.
    out: File or folder to write.
    what: Rollouts or model.
    kind: Format of rollouts.
    """
    with assembly():
        if what == "rollouts":
            export_rollouts(folder, out, kind)
        else:
            export_model(folder, out)
    print(out)


def export_model(folder: Path, out: Path) -> None:
    """The policy of a run's last checkpoint as a Hugging Face folder (adapters merged)."""
    with Store(folder).open(readonly=True) as store:
        record = store.record()
    spec = record["arguments"].get("policy", inspect.signature(find_recipe(record["recipe"])).parameters["policy"].default)
    options = record["options"]
    policy = load_policy(spec, device="cpu", dtype=options["dtype"], lora=options["lora"])
    found = load_checkpoint(folder)
    prefix = "policy/policy/"
    weights = {k.removeprefix(prefix): v for k, v in found.tensors.items() if k.startswith(prefix)}
    policy.load_weights(weights, found.state["versions"]["policy"])
    if isinstance(policy, Decoder):
        policy.save(out, merged=True)
    else:
        policy.save(out)


# ---------------------------------------------------------------------------------------- entry


def known_recipe(name: str) -> None:
    """Refuse a name that is neither a recipe nor a file."""
    if name not in recipes.__all__ and not name.endswith(".py"):
        close = difflib.get_close_matches(name, recipes.__all__, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(recipes.__all__)}, or a file ./my_recipe.py"
        raise Misuse(f"no recipe is named {name!r}; {hint}")


def dispatch(argv: Sequence[str]) -> None:
    """Read the words and run the command; a user's recipe file becomes a command of its own."""
    if len(argv) > 1 and argv[0] == "run" and not argv[1].startswith("-"):
        known_recipe(argv[1])
        if argv[1].endswith(".py"):
            run_app.command(run_command(find_recipe(argv[1]), argv[1]), name=argv[1])
    command, bound, _ = app.parse_args(list(argv), exit_on_error=False, print_error=False)
    command(*bound.args, **bound.kwargs)


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns the exit status."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        dispatch(sys.argv[1:] if argv is None else argv)
    except (Misuse, cyclopts.CycloptsError) as error:
        print(f"journeyman: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\njourneyman: stopped; finished attempts are kept, continue with journeyman run --resume DIR", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def entry() -> None:
    sys.exit(main())
