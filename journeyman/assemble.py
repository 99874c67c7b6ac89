"""From what a user wrote (a recipe's name, arguments, options) to a run that trains, keeps its folder and can resume."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import inspect
import json
import shlex
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch

import journeyman
from journeyman import recipes
from journeyman.evals import paired_difference, summarise
from journeyman.evaluation import Exam, choose, examines, step_metrics
from journeyman.feedback import from_file, shuffled
from journeyman.loggers import Logger, Tolerant, extra, to_tensorboard, to_trackio, to_wandb
from journeyman.loop import train
from journeyman.policies import load_policy
from journeyman.policies.allocator import give_back
from journeyman.policies.vllm import VLLM, Server
from journeyman.progress import Progress
from journeyman.resume import records, resume, saves
from journeyman.run import Action, Run
from journeyman.runner import all_needs
from journeyman.spending import Spending
from journeyman.store import Session, Store
from journeyman.tasks import load_tasks
from journeyman.tasks.load import is_generated
from journeyman.types import Group, Task

Recipe = Callable[..., Run]


class Misuse(ValueError):
    """Something the user wrote cannot be done: one line that says what was found and what to write instead."""


@contextmanager
def assembly() -> Iterator[None]:
    """What goes wrong while a user's words are turned into parts is misuse; afterwards it is a failure."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise Misuse(" ".join(str(error).split())) from error


@dataclass
class Options:
    """What ``journeyman run`` takes besides the recipe's own arguments."""

    out: Path
    "Folder of the run: store, checkpoints, result.json."
    eval_tasks: str | None = None
    "Tasks to evaluate on before and after: gym:FAMILY@LEVELS or a .jsonl file; default: the held-out split of tasks."
    eval_n: int = 200
    "How many tasks to evaluate on, at most."
    eval_k: int = 4
    "Attempts at each task of an evaluation."
    eval_temperature: float = 1.0
    "Sampling temperature of evaluations, whatever that of training is; 0 is greedy."
    eval_every: int = 0
    "Evaluate every so many steps too; 0 evaluates only before and after."
    save_every: int = 10
    "Checkpoint every so many steps."
    budget_tokens: int | None = None
    "End, in place of after steps, at the first step that has spent so many prompt and sampled tokens of the policy's size."
    reward: str | None = None
    "A reward of your own in place of feedback: my_file.py:function, a function of (task, answer) that returns a number."
    extract: Literal["boxed", "answer", "hashes", "number", "text"] | None = None
    "How the final answer is read from a text; default: the tasks' own way."
    system: str | None = None
    "A system prompt before every question, in training and evaluation."
    device: str = "auto"
    "Where to compute: cpu, cuda, cuda:1, mps, or auto for the best that is there."
    dtype: str = "auto"
    "Number format of the weights: float32, bfloat16, float16, or auto (bfloat16 on cuda, float32 elsewhere)."
    lora: int | None = None
    "Rank of LoRA adapters to train instead of all weights."
    vllm: str | None = None
    "URL of a vLLM server that draws the samples; it gets the weights after each update (see journeyman.policies.vllm)."
    log: Literal["none", "tensorboard", "trackio", "wandb"] = "none"
    "Where to log metrics besides the run folder."
    shuffle_rewards: bool = False
    "Control: permute the rewards among siblings. What is learned then is not from the verifier."


def find_recipe(name: str) -> Recipe:
    """A recipe by name, or the function ``recipe`` of a file ./my_recipe.py."""
    if name.endswith(".py"):
        return load_file(Path(name)).recipe
    return getattr(recipes, name)


def load_file(path: Path) -> ModuleType:
    """A user's Python file as a module; it must define ``recipe``."""
    if not path.is_file():
        raise Misuse(f"there is no file {path}; write the path of a Python file that defines a function recipe(...) -> Run")
    name = f"recipe file {path.stem}"  # dataclasses look their module up; a name that no import can have hides no library
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with user_code(path):
        spec.loader.exec_module(module)
    recipe = vars(module).get("recipe")
    if not callable(recipe) or "policy" not in inspect.signature(recipe).parameters:
        found = "a recipe that takes no policy" if callable(recipe) else "no function recipe"
        raise Misuse(f"{path} defines {found}; write def recipe(policy='base', tasks='gym:chain_sum', ...) -> Run")
    return module


@contextmanager
def user_code(path: Path) -> Iterator[None]:
    """Whatever a user's file raises is misuse, told in one line with the place in the file."""
    try:
        yield
    except Misuse:
        raise
    except (Exception, SystemExit) as error:  # it is any code; nothing of ours has begun
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == path.resolve()]
        where = f"{path} line {lines[-1]}" if lines else str(path)
        raise Misuse(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def source_hash(recipe: Recipe) -> str:
    """SHA-256 over the package's sources and the recipe's file."""
    digest = hashlib.sha256()
    folder = Path(journeyman.__file__).parent
    for path in [*sorted(x for x in folder.rglob("*") if x.suffix in (".py", ".cpp")), Path(inspect.getfile(recipe))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def build(name: str, arguments: dict[str, Any], options: Options) -> tuple[Run, Exam]:
    """The run that recipe and options describe, and the exam it sits before and after. Nothing is written."""
    check_options(options)
    recipe = find_recipe(name)
    written = dict(arguments)
    policy_spec = written.get("policy", default_of(recipe, "policy"))
    if isinstance(policy_spec, str):
        written["policy"] = load_policy(
            policy_spec, device=options.device, dtype=options.dtype, lora=options.lora, seed=written.get("seed", 0)
        )
        if options.vllm:
            written["policy"] = VLLM(written["policy"], Server(options.vllm))
    tasks_spec = written.get("tasks", default_of(recipe, "tasks"))
    if isinstance(tasks_spec, str) and (options.extract or options.system):
        written["tasks"] = load_tasks(tasks_spec, split="train", extract=options.extract, system=options.system)
    with user_code(Path(name)) if name.endswith(".py") else nullcontext():
        run = recipe(**written)
    if not isinstance(run, Run):
        raise Misuse(f"recipe {name} returned {type(run).__name__}, expected a Run")
    feedback = run.runner.feedback
    if options.reward:
        feedback = from_file(options.reward)
    answers = replace(run.runner.sampling, temperature=options.eval_temperature)
    exam = Exam(exam_tasks(recipe, arguments, options), feedback, k=options.eval_k, sampling=answers)
    if options.shuffle_rewards and "oracle" in all_needs(run.runner.strategy):
        raise Misuse(
            "shuffle_rewards permutes rewards among siblings, but the strategy asks the verifier itself; write strategy=sample"
        )
    run.runner = replace(run.runner, feedback=shuffled(feedback, seed=run.runner.seed) if options.shuffle_rewards else feedback)
    if options.eval_every:
        run.actions.append((options.eval_every, examines(exam)))
    run.check()
    return run, exam


def check_options(options: Options) -> None:
    """Refuse options that no run can have."""
    for name, least in (("eval_n", 1), ("eval_k", 1), ("eval_every", 0), ("save_every", 1), ("budget_tokens", 1)):
        if (found := getattr(options, name)) is not None and found < least:
            raise Misuse(f"{name} is {found}, expected at least {least}")
    if options.log != "none":  # told now: the logger itself is made when there is a folder
        extra(options.log, options.log, f"--log {options.log}")


def default_of(recipe: Recipe, name: str) -> Any:
    """A recipe's default for an argument; None where it has none."""
    found = inspect.signature(recipe).parameters.get(name)
    return None if found is None or found.default is found.empty else found.default


def exam_tasks(recipe: Recipe, arguments: dict[str, Any], options: Options) -> list[Task]:
    """The tasks of the exam: those asked for (a file of its own whole), else the held-out split of the training tasks."""
    training = arguments.get("tasks") or default_of(recipe, "tasks")
    spec = options.eval_tasks or training
    if not isinstance(spec, str):
        raise Misuse("the recipe has no argument tasks that is a text, so say what to evaluate on, with --eval-tasks")
    split = "heldout" if spec == training or is_generated(spec) else "all"
    limit = options.eval_n if split == "heldout" else None
    source = load_tasks(spec, split=split, limit=limit, extract=options.extract, system=options.system)
    return choose(source, options.eval_n)


# ---------------------------------------------------------------------------------------- running


def start(name: str, arguments: dict[str, Any], options: Options) -> Path:
    """Assemble, create the run folder, train, write result.json; returns the folder."""
    with assembly():
        run, exam = build(name, arguments, options)
        record = {
            "recipe": name if not name.endswith(".py") else str(Path(name).resolve()),
            "arguments": arguments,
            "directory": str(Path.cwd()),  # paths among the arguments are relative to it
            "options": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()},
            "source": source_hash(find_recipe(name)),
            "versions": {"journeyman": journeyman.__version__, "torch": torch.__version__, "python": sys.version.split()[0]},
        }
        store = Store(options.out).create(record)
    with store, resumable(options.out):
        return carry_on(run, exam, store, options, record)


def restart(folder: Path) -> Path:
    """Continue the run of a folder from its last checkpoint, if it is not complete; returns the folder. Paths among its
    arguments mean what they meant where it was started, whatever the working directory is now."""
    with assembly():
        store = Store(folder.resolve()).open()
    with store, resumable(folder):
        if (folder / "result.json").is_file():  # written last of all
            print(f"journeyman: the run in {folder} is complete; this is its result", file=sys.stderr)
            return folder
        record = store.record()
        started_in = Path(record["directory"])
        with chdir(started_in if started_in.is_dir() else Path.cwd()):
            with assembly():
                options = Options(**{**record["options"], "out": store.folder})
                run, exam = build(record["recipe"], record["arguments"], options)
            if record["source"] != source_hash(find_recipe(record["recipe"])):
                print(
                    "journeyman: the source changed since this run started; its later steps come from other code", file=sys.stderr
                )
            carry_on(run, exam, store, options, record)
        return folder


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Ctrl-C ends the program with status 130 and one line that says how to continue the run of this folder."""
    try:
        yield
    except KeyboardInterrupt:
        line = f"journeyman: stopped; finished attempts are kept, continue with journeyman run --resume {shlex.quote(str(folder))}"
        print(f"\n{line}", file=sys.stderr)
        raise SystemExit(130) from None


def carry_on(run: Run, exam: Exam, store: Store, options: Options, record: dict[str, Any]) -> Path:
    """The part that a new run and a resumed one share. The run holds its start weights."""
    run.memory = Session(store)
    with assembly():
        logger = open_logger(options, record)
    with Progress(run.last) as progress:
        spending = None
        if options.budget_tokens is not None:
            spending = Spending(options.budget_tokens, run.policies[run.runner.actor].parameters, progress)
            run.actions.insert(0, (1, spending))  # first: the others ask whether this step is the last
        run.actions += [
            (1, measures()),
            (1, records(store)),
            (1, reports(progress, logger)),
            (1, warns(progress)),
            (options.save_every, saves(store)),
            (options.save_every, tidies()),
        ]
        run.runner = replace(run.runner, watch=progress.attempts)
        try:
            asyncio.run(exam_and_train(run, exam, store, progress, spending))
        finally:
            logger.close()
    return options.out


async def exam_and_train(run: Run, exam: Exam, store: Store, progress: Progress, spending: Spending | None) -> None:
    """Evaluate, train, evaluate, write the result. The first evaluation is of the start weights, so it comes before any
    checkpoint is loaded; it is kept, so that a resumed run has it."""
    kept = store.folder / "before.json"
    if not kept.exists():
        progress.note(f"evaluating before: {len(exam.tasks)} tasks x {exam.k}")
        write_json(kept, await examine(run, exam, progress))
    with assembly():
        warning = resume(run, store)
    if spending is not None:
        spending.recall(run, store)
    if warning:
        progress.note(f"journeyman: {warning}")
    progress.done = run.done
    if run.done:
        progress.note(f"continuing after step {run.done} of {run.last}")
    await train(run)
    progress.note(f"evaluating after: {len(exam.tasks)} tasks x {exam.k}")
    before, after = json.loads(kept.read_text()), await examine(run, exam, progress)
    change = paired_difference([after["tasks"][t] for t in after["tasks"]], [before["tasks"][t] for t in after["tasks"]])
    result = {"before": before, "after": after, "change": asdict(change), "training": spent(store, run)}
    write_json(store.folder / "result.json", result)


def spent(store: Store, run: Run) -> dict[str, Any]:
    """What the training steps took, and what describes the run: recipe, arguments (its seed too) and versions."""
    names = ("seconds", "prompt_tokens", "sampled_tokens", "trained_tokens", "compute")
    known = store.metrics().values()
    record = store.record()
    told = {name: record[name] for name in ("recipe", "arguments", "versions")}
    return {"steps": len(known), **{n: sum(x.get(n, 0.0) for x in known) for n in names}, "seed": run.runner.seed, **told}


async def examine(run: Run, exam: Exam, progress: Progress) -> dict[str, Any]:
    """The exam's report as JSON, with each task's share of correct attempts."""
    groups = await exam.sit(run.policies.snapshot(), run.runner.actor)
    if reason := unscored(groups):
        progress.note(f"journeyman: warning: in this evaluation {reason}")
    shares = {g.task.id: sum(s is not None and s >= 1.0 for s in g.scores()) / len(g.scores()) for g in groups}
    return {**summarise(groups, k=exam.k).to_json(), "tasks": shares}


def write_json(path: Path, value: Any) -> None:
    """Write whole or not at all."""
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(value, indent=1))
    scratch.replace(path)


def measures() -> Action:
    """The action that adds what the actors did to the step's metrics."""

    async def measure(run: Run, step: int, groups: Sequence[Group], metrics: dict[str, float]) -> None:
        metrics |= step_metrics(groups)

    return measure


def reports(progress: Progress, logger: Logger) -> Action:
    """The action that shows and logs the step's metrics."""

    async def report(run: Run, step: int, groups: Sequence[Group], metrics: dict[str, float]) -> None:
        progress.step(step, metrics)
        logger.log(step, metrics)

    return report


def tidies() -> Action:
    """The action that gives free memory back to the system."""

    async def tidy(run: Run, step: int, groups: Sequence[Group], metrics: dict[str, float]) -> None:
        give_back()

    return tidy


def warns(progress: Progress) -> Action:
    """The action that says, once, that a whole step went unscored: nothing can be learned then."""
    told = False

    async def warn(run: Run, step: int, groups: Sequence[Group], metrics: dict[str, float]) -> None:
        nonlocal told
        if not told and (reason := unscored(groups)):
            told = True
            progress.note(f"journeyman: warning: in step {step} {reason}; nothing was learned from them")

    return warn


def unscored(groups: Sequence[Group]) -> str | None:
    """What to tell where no attempt of any group got a score, with the verifier's evidence; None where one did."""
    if any(s is not None for g in groups for s in g.scores()):
        return None
    judged = [j for g in groups for j in g.judgements]
    reasons = Counter(f"{j.status}: {j.evidence[:300]}" if j.evidence else j.status for j in judged)
    most = reasons.most_common(1)[0] if reasons else ("no judgements", 0)
    return f"none of {sum(len(g.attempts) for g in groups)} attempts got a score ({most[1]} times {most[0]})"


def open_logger(options: Options, record: dict[str, Any]) -> Tolerant:
    """The logger that was asked for, in a shell that keeps its failures from ending the run."""
    name = f"{Path(record['recipe']).stem}-{options.out.name}"
    made: dict[str, Callable[[], Logger]] = {
        "tensorboard": lambda: to_tensorboard(options.out / "tensorboard"),
        "trackio": lambda: to_trackio("journeyman", name=name),
        "wandb": lambda: to_wandb("journeyman", name=name),
    }
    return Tolerant([made[options.log]()] if options.log in made else [])
