"""The command line. Exit status: 0 done, 1 failed, 2 misuse with a one-line reason on standard error."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import json
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import App, Parameter
from rich.console import Console

import journeyman
from journeyman import recipes, strategies
from journeyman.assemble import Misuse, Options, Recipe, assembly, find_recipe, restart, start, unscored, user_code
from journeyman.bench import bench, model_of, setting
from journeyman.compare import plan_of, read_plan, run_comparison, tables
from journeyman.evals import summarise
from journeyman.evaluation import Exam, choose
from journeyman.export import export_rollouts
from journeyman.feedback import auto
from journeyman.flags import Json, Real, Whole, command, flag, flags_of, flags_of_fields, whole
from journeyman.literal import parse
from journeyman.policies import Decoder, load_policy
from journeyman.pretrain import Recipe as PretrainRecipe
from journeyman.pretrain import pretrain as pretrain_base
from journeyman.report import watch, write_report
from journeyman.runner import all_needs
from journeyman.show import methods_table, rates_table, result_table, show_recipe
from journeyman.store import Store, load_checkpoint
from journeyman.tasks import load_tasks
from journeyman.tasks.load import is_generated
from journeyman.types import Sampling

app = App(name="journeyman", help="Make language models reason better by expert iteration.", version=journeyman.__version__)
run_app = App(name="run", help="Train: journeyman run RECIPE --out DIR, or continue: journeyman run --resume DIR.")
app.command(run_app)


# ---------------------------------------------------------------------------------------- run


def run_command(recipe: Recipe, name: str) -> Callable[..., None]:
    """The command of a recipe, generated from its signature, with the options every run takes."""
    with assembly():
        own, options = flags_of(recipe), flags_of_fields(Options)
    if clash := {p.name for p in own} & {p.name for p in options}:
        raise Misuse(f"{name} has an argument {min(clash)}, which is an option of every run; give it another name")

    def do(arguments: dict[str, Any]) -> None:
        for_run = {p.name: arguments.pop(p.name) for p in options if p.name in arguments}
        finish(start(name, arguments, Options(**for_run)))

    return command(name, recipe.__doc__, [*own, *options], do)


for recipe_name in recipes.__all__:
    run_app.command(run_command(getattr(recipes, recipe_name), recipe_name), name=recipe_name)
app.command(run_command(recipes.sft, "sft"), name="sft")


@run_app.default
def resume_command(*, resume: Path) -> None:
    """Continue a run from its last checkpoint.

    Args:
        resume: Folder of a run that was stopped or killed.
    """
    finish(restart(resume))


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
    k: Whole = 1,
    n: Annotated[int | None, Parameter(converter=whole)] = None,
    temperature: Real = 1.0,
    max_tokens: Whole = 256,
    top_p: Real = 1.0,
    split: Literal["train", "validation", "heldout", "all"] | None = None,
    extract: str | None = None,
    system: str | None = None,
    seed: Whole = 0,
    device: str = "auto",
    dtype: str = "auto",
    as_json: Json = False,
) -> None:
    """Measure a strategy on tasks: pass@1, pass@k and maj@k with 95 % intervals.

    Args:
        policy: Model folder (Hugging Face format), or base for the model that comes with the package.
        tasks: gym:FAMILY@LEVELS, or a .jsonl file (GSM8K, MATH-500, HumanEval or prompt/answer lines).
        strategy: A strategy such as sample, vote(n=16) or best_of_n(n=8).
        k: Attempts at each task.
        n: How many tasks (default: all of a file, 300 of a generator).
        temperature: Sampling temperature; 0 is greedy.
        max_tokens: Longest answer in tokens.
        top_p: Share of the most likely tokens that are sampled from.
        split: Which part of the tasks (default: heldout of a generator, all of a file).
        extract: How the final answer is read: boxed, answer, hashes, number or text (default: the tasks' own).
        system: A system prompt, put before each question.
        seed: Seed of all random numbers.
        device: Where to compute: cpu, cuda, cuda:1, mps, or auto for the best that is there.
        dtype: Number format of the weights: float32, bfloat16, float16, or auto.
        as_json: Print one JSON document and nothing else.
    """
    with assembly():
        sampling = sampling_of(max_tokens, temperature, top_p)
        if k < 1 or (n is not None and n < 1):
            raise Misuse(f"k and n are at least 1: found k={k}, n={n}")
        generated = is_generated(tasks)
        part = split or ("heldout" if generated else "all")
        source = load_tasks(tasks, split=part, limit=n or (300 if generated else None), extract=extract, system=system)
        expert = parse(strategy, strategies)
        actor = load_policy(policy, device=device, dtype=dtype)
        exam = Exam(choose(source, n), auto(), expert, k, sampling, seed)
    groups = asyncio.run(exam.sit({"policy": actor}))
    if reason := unscored(groups):
        print(f"journeyman: warning: {reason}", file=sys.stderr)
    report = summarise(groups, k=k)
    if as_json:
        settings = {"policy": policy, "tasks": tasks, "strategy": strategy, "split": part, "seed": seed, "temperature": temperature}
        print(json.dumps({**settings, "oracle": uses_oracle(expert), **report.to_json()}))
    else:
        Console().print(report.table(f"{policy} · {strategy}{' (oracle)' if uses_oracle(expert) else ''} · {tasks}"))


def sampling_of(max_tokens: int, temperature: float, top_p: float) -> Sampling:
    """How tokens are drawn; refuses what cannot be."""
    if max_tokens < 1 or temperature < 0 or not 0 < top_p <= 1:
        found = f"max_tokens={max_tokens}, temperature={temperature}, top_p={top_p}"
        raise Misuse(f"max_tokens is at least 1, temperature at least 0, and top_p above 0 and at most 1: found {found}")
    return Sampling(max_tokens, temperature, top_p)


def uses_oracle(strategy: Any) -> bool:
    return "oracle" in all_needs(strategy)


@app.command(name="compare")
def compare_command(
    *words: Annotated[str, Parameter(allow_leading_hyphen=True, name="recipes")],
    seeds: Whole | None = None,
    budget_tokens: Annotated[int | None, Parameter(converter=whole)] = None,
    out: Path | None = None,
    resume: Path | None = None,
    jobs: Whole = 1,
    as_json: Json = False,
) -> None:
    """Compare recipes on the same tasks and seeds at an equal budget.

    A run ends when its prompt and sampled tokens, times parameters, reach the budget. Other flags (--tasks, --policy,
    --batch ...) are those of journeyman run and go to every recipe. Killed, the same command continues where it was.

    Args:
        words: Names of recipes, or ./my_recipe.py; with flags of their own in quotes, such as "grpo --lr 1e-3".
        seeds: Runs of each recipe, with the seeds from 0 (default: 3).
        budget_tokens: Prompt and sampled tokens of each run, in tokens of the base model's size.
        out: Folder of the comparison: its runs, compare.json, compare.html.
        resume: Folder of a comparison to continue, in place of everything else but --jobs.
        jobs: Runs at a time. They divide the cores (OMP_NUM_THREADS, where set, holds for each), and share memory and a GPU.
        as_json: Print one JSON document and nothing else.
    """
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    written, shared = words[:first], words[first:]
    if resume is not None:
        if words or out or budget_tokens is not None or seeds is not None:
            raise Misuse("--resume DIR continues a comparison as it was started; write nothing beside it but --jobs and --json")
        plan, folder = read_plan(resume), resume
    else:
        if out is None or budget_tokens is None:
            raise Misuse(
                "write journeyman compare RECIPE RECIPE ... --budget-tokens N --out DIR; --out or --budget-tokens is missing"
            )
        for text in written:
            known_recipe((shlex.split(text) or [""])[0])
        plan, folder = plan_of(written, shared, 3 if seeds is None else seeds, budget_tokens), out
    result = run_comparison(plan, folder, jobs)
    if as_json:
        print(json.dumps(result))
    else:
        Console().print(tables(result))
        print(f"page: {folder / 'compare.html'}")


@app.command(name="show")
def show_command(recipe: str) -> None:
    """Print a recipe's loop and the source of each of its parts, in the order they run.

    Args:
        recipe: Name of a recipe, or ./my_recipe.py.
    """
    known_recipe(recipe)
    with assembly(), user_code(Path(recipe)) if recipe.endswith(".py") else nullcontext():
        text = show_recipe(find_recipe(recipe), recipe)
    Console().print(text) if sys.stdout.isatty() else print(text.code)


@app.command(name="methods")
def methods_command(*, as_json: Json = False) -> None:
    """List every part and recipe, what it needs and gives, and its paper.

    Args:
        as_json: Print one JSON document and nothing else.
    """
    rows, table = methods_table()
    if as_json:
        print(json.dumps(rows))
    else:
        Console().print(table)


def pretrain_command(arguments: dict[str, Any]) -> None:
    """Pretrain a small base model on the traces of exact solvers; continues if killed.

    Args:
        rows: Training rows in all.
        batch_tokens: Padded tokens an update.
        lr: Peak rate of AdamW (embedding and norms).
        warmup: Updates until the learning rate is at its highest.
        weight_decay: Muon's weight decay.
        seed: Seed of weights and rows.
        vocab: Tokens in the vocabulary, the 256 bytes included.
        hidden: Width of the model.
        intermediate: Width inside its feed-forward layers.
        layers: Number of layers.
        heads: Attention heads.
        kv_heads: Heads of keys and values.
        head_dim: Width of a head.
        context: Longest sequence in tokens.
        start: Model folder of the same shape to begin with.
    """
    out = arguments.pop("out")
    with assembly():
        folder = pretrain_base(PretrainRecipe(**arguments), out, note=lambda text: print(text, file=sys.stderr, flush=True))
    print(folder)


pretrain_flags = [
    flag("out", Path, inspect.Parameter.empty, "Model folder to write."),
    *flags_of_fields(PretrainRecipe, pretrain_command.__doc__ or ""),
]
app.command(command("pretrain", pretrain_command.__doc__, pretrain_flags, pretrain_command), name="pretrain")


def bench_command(arguments: dict[str, Any]) -> None:
    """Measure how fast this machine samples and learns, beside its own limit."""
    as_json = arguments.pop("as_json", False)
    with assembly():
        model = model_of(**arguments)
    with Console(stderr=True).status("measuring") as status:
        limit, rates = bench(model, arguments.get("repeats", 3), status.update)
    if as_json:
        about = {"machine": limit, "setting": setting(model), "parameters": model.parameters}
        print(json.dumps({**about, "rates": [asdict(r) for r in rates]}))
    else:
        Console().print(rates_table(rates, limit, setting(model)))


bench_flags = [*flags_of(model_of), flag("as_json", Json, False, "Print one JSON document and nothing else.")]
app.command(command("bench", bench_command.__doc__, bench_flags, bench_command), name="bench")


@app.command(name="export")
def export_command(
    folder: Path, *, out: Path, what: Literal["rollouts", "model"] = "rollouts", kind: Literal["parquet", "jsonl"] = "jsonl"
) -> None:
    """Write a run's rollouts (one row a trace) or its trained model (a Hugging Face folder).

    Args:
        folder: Folder of a run.
        out: File (rollouts) or folder (model) to write.
        what: The run's rollouts, or its trained model.
        kind: Format of rollouts.
    """
    with assembly():
        if what == "rollouts":
            export_rollouts(folder, out, kind)
        else:
            export_model(folder, out)
    print(out)


@app.command(name="report")
def report_command(folder: Path, *, out: Path | None = None) -> None:
    """Write a run's report: one HTML file that works offline. The run may be complete, killed or going on.

    Args:
        folder: Folder of a run.
        out: File to write (default: report.html in the folder).
    """
    with assembly():
        path = write_report(folder, out)
    print(path)


@app.command(name="watch")
def watch_command(folder: Path, *, port: Annotated[int, Parameter(converter=whole)] = 0) -> None:
    """Show a run's report live on 127.0.0.1 while the run goes on; Ctrl-C ends it.

    Args:
        folder: Folder of a run.
        port: Port to serve on; 0 takes a free one.
    """
    with assembly():
        watch(folder, port)


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
    if not name or name.startswith("-"):
        raise Misuse(
            f"name a recipe first: journeyman run RECIPE --out DIR; there are {', '.join(recipes.__all__)}, ./my_recipe.py"
        )
    if name not in recipes.__all__ and not name.endswith(".py"):
        close = difflib.get_close_matches(name, recipes.__all__, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(recipes.__all__)}, or a file ./my_recipe.py"
        raise Misuse(f"no recipe is named {name!r}; {hint}")


def dispatch(argv: Sequence[str]) -> None:
    """Read the words and run the command; a user's recipe file becomes a command of its own."""
    if argv[:1] == ["run"]:
        first = argv[1] if len(argv) > 1 else ""
        if first.split("=")[0] not in ("--resume", "--help", "-h", "--version"):
            known_recipe(first)
        if first.endswith(".py"):
            own = run_command(find_recipe(first), first)
            if first in run_app:
                del run_app[first]
            run_app.command(own, name=first)
    called, bound, _ = app.parse_args(list(argv), exit_on_error=False, print_error=False)
    called(*bound.args, **bound.kwargs)


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns the exit status."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        dispatch(sys.argv[1:] if argv is None else argv)
    except (Misuse, cyclopts.CycloptsError) as error:
        print(f"journeyman: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\njourneyman: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def entry() -> None:
    sys.exit(main())
