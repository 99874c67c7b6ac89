"""Nothing is lost: a run that was killed anywhere ends as the run that was not."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from journeyman.assemble import Options, build
from journeyman.cli import main
from journeyman.credit import imitate_best
from journeyman.curricula import learnable, uniform
from journeyman.feedback import exact
from journeyman.loop import train
from journeyman.resume import records, resume, saves, state, tensors
from journeyman.run import Learners, Policies, Run
from journeyman.runner import Runner
from journeyman.store import Session, Store, latest, load_checkpoint, save_checkpoint
from journeyman.strategies import sample, vote
from journeyman.testing import ListLearner, ScriptedPolicy, adds, sums
from journeyman.types import replace

SCRIPT = Path(__file__).parents[1] / "scripts" / "kill_and_resume.py"
STEPS, BATCH, SIBLINGS = 5, 4, 2


class Killed(BaseException):
    """Stands for SIGKILL where a test stays in one process: nothing in the package may catch it."""


sys.path.insert(0, str(SCRIPT.parent))  # the harness is a script
harness, audit = (importlib.import_module(name) for name in ("kill_and_resume", "run_audit"))


# ------------------------------------------------------------------------------------------ scripted runs


class Weightless(ScriptedPolicy):
    """A scripted policy that a checkpoint can hold: all that moves is its version."""

    def weights(self):
        return {}

    def load_weights(self, weights, version):
        self.version = version


class judging:
    """exact(), which remembers whom it judged and is killed at the judgement of a group."""

    needs, gives = exact.needs, exact.gives

    def __init__(self, killed_at=None):
        self.killed_at, self.judged = killed_at, []

    async def __call__(self, group):
        if group.id == self.killed_at:
            raise Killed
        self.judged += [a.id for a in group.attempts]
        return await exact()(group)


def scripted(refills=0, strategy=sample(), feedback=None, window=3):  # noqa: B008 (frozen)
    curriculum = uniform(sums(7), siblings=SIBLINGS)
    return Run(
        policies=Policies(policy=Weightless(adds(wrong=0.4))),
        runner=Runner(strategy, feedback or judging(), window=window),
        curriculum=learnable(curriculum) if refills else curriculum,
        credit=imitate_best(),
        learners=Learners({"policy": ListLearner()}),
        last=STEPS,
        batch=BATCH,
        refills=refills,
    )


def go(run, folder, save_every=1, killed_after=None):
    """Train a run in a folder, new or resumed; killed when so many attempts of this life are stored. Returns the warning."""
    exists = (folder / "run.sqlite").exists()
    store = Store(folder).open() if exists else Store(folder).create({"recipe": "test"})
    made = []

    def watch(done, total):
        made.append(done)
        if len(made) == killed_after:
            raise Killed

    with store:
        run.memory = Session(store)
        run.runner = replace(run.runner, watch=watch)
        run.actions += [(1, records(store)), (save_every, saves(store))]
        warning = resume(run, store)
        asyncio.run(train(run))
    return warning


def die(run, folder, **how):
    """The same, and it must be killed."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 (the task group may wrap it)
        go(run, folder, **how)
    assert caught.group_contains(Killed) if isinstance(caught.value, BaseExceptionGroup) else caught.type is Killed


def held(folder):
    """Everything in a store but the wall-clock: {attempt: (task, what was drawn, judgements)}."""
    with Store(folder).open(readonly=True) as store:
        return {s.attempt.id: (s.task.id, replace(s.attempt, cost=None), s.judgements) for s in store.attempts()}


def called(run):
    """How often each attempt drew from the policy."""
    return Counter(id.split(":")[0] for id, _ in run.policies["policy"].calls)


@pytest.mark.parametrize("refills", [0, 3])
@pytest.mark.parametrize(("strategy", "window"), [(sample(), 3), (vote(n=3), 1)], ids=["sample", "vote"])
@pytest.mark.parametrize("killed_after", [1, 8, 13, 29])
def test_stored_attempts_are_used_and_not_sampled_again(tmp_path, refills, strategy, window, killed_after):
    whole = scripted(refills, strategy, window=window)
    go(whole, tmp_path / "whole")
    first = scripted(refills, strategy, window=window)
    die(first, tmp_path / "killed", save_every=2, killed_after=killed_after)
    stored, restored = set(held(tmp_path / "killed")), latest(tmp_path / "killed") or 0
    assert killed_after <= len(stored) < killed_after + first.runner.window, "those in flight beside it may end"
    second = scripted(refills, strategy, window=window)
    assert go(second, tmp_path / "killed", save_every=2) is None
    assert held(tmp_path / "killed") == held(tmp_path / "whole")
    assert not stored & called(second).keys(), "what was stored is not drawn again"
    assert stored | called(second).keys() == called(whole).keys(), "and the rest is drawn"
    assert set(called(second).values()) == set(called(whole).values())
    assert second.learners["policy"].lessons == whole.learners["policy"].lessons[restored:]
    assert state(second) == state(whole)


def test_every_step_has_each_attempt_once_judged_once(tmp_path):
    die(scripted(), tmp_path, killed_after=11)
    die(scripted(), tmp_path, killed_after=9)
    go(scripted(), tmp_path)
    found = held(tmp_path)
    assert sorted(found) == sorted(f"{s}/{k}/{i}" for s in range(1, STEPS + 1) for k in range(BATCH) for i in range(SIBLINGS))
    assert all([j.trace for j in judgements] == [None] for _, _, judgements in found.values())


def test_attempts_stored_but_unjudged_are_judged_on_resume(tmp_path):
    first = judging(killed_at="2/1")
    die(scripted(feedback=first), tmp_path)
    found = held(tmp_path)
    unjudged = {id for id, (_, _, judgements) in found.items() if not judgements}
    assert {"2/1/0", "2/1/1"} <= unjudged
    second = judging()
    run = scripted(feedback=second)
    go(run, tmp_path)
    assert not found.keys() & called(run).keys()
    assert unjudged <= set(second.judged), "judged now"
    assert not (set(second.judged) & found.keys()) - unjudged, "and what was judged is not judged again"
    assert all(len(judgements) == 1 for _, _, judgements in held(tmp_path).values())


def test_refills_replay_the_same_ordinals(tmp_path):
    go(scripted(refills=3), tmp_path / "whole")
    expected = held(tmp_path / "whole")
    step = next(id.split("/")[0] for id in expected if int(id.split("/")[1]) >= BATCH)
    inside = [id for id in expected if int(id.split("/")[0]) < int(step)]
    killed_after = len(inside) + BATCH * SIBLINGS + 1  # one attempt of the first refill is stored
    die(scripted(refills=3), tmp_path / "killed", killed_after=killed_after)
    assert f"{step}/{BATCH}/0" in held(tmp_path / "killed")
    assert latest(tmp_path / "killed") == (int(step) - 1 or None)
    go(scripted(refills=3), tmp_path / "killed")
    assert held(tmp_path / "killed") == expected


# ------------------------------------------------------------------------------------------ real weights


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("world")
    harness.make_world(folder, seed=0)
    return folder


@pytest.fixture
def inside(world, monkeypatch):
    """In the world's folder, as the words of a command are relative."""
    torch.set_num_threads(1)
    monkeypatch.chdir(world)
    return world


def trainable(folder, recipe, steps=6):
    words = {"policy": "model", "tasks": "sums.jsonl", "feedback": "exact()", "steps": steps, "batch": 6, "lr": 3e-3}
    words |= (
        {"max_tokens": 4} | ({"siblings": 4} if recipe != "star" else {"updates": 2}) | ({"soft": 2} if recipe == "dapo" else {})
    )
    return build(recipe, words, Options(out=folder, eval_n=8, eval_k=1, device="cpu"))[0]


def dies(at):
    async def die(run, step, groups, metrics):
        if step == at:
            raise Killed

    return die


@pytest.mark.parametrize("recipe", ["expert_iteration", "dapo", "star", "ppo"])
def test_killed_between_steps_the_final_weights_are_the_same_bits(inside, tmp_path, recipe):
    whole = trainable(tmp_path, recipe)
    start = {k: v.clone() for k, v in tensors(whole).items()}
    go(whole, tmp_path / "whole")
    killed = tmp_path / "killed"
    for at in (2, 3, 5):  # after steps 2, 3 and 5; the checkpoints are of steps 2 and 4
        run = trainable(tmp_path, recipe)
        run.actions.append((1, dies(at)))
        die(run, killed, save_every=2)
    last = trainable(tmp_path, recipe)
    go(last, killed, save_every=2)
    assert last.policies["policy"].version == whole.policies["policy"].version > 0
    expected, found = tensors(whole), tensors(last)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[k], expected[k]) for k in expected)
    assert any(not torch.equal(v, found[k]) for k, v in start.items()), "something was learned"
    assert state(last) == state(whole)
    assert held(killed) == held(tmp_path / "whole")
    assert load_checkpoint(killed).state["learners"]["policy"]["rounds"] == 6


def spoil(folder, step):
    path = folder / "checkpoints" / f"step-{step:06d}" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damaged", [(3,), (2, 3)], ids=["the newest", "all"])
def test_a_damaged_checkpoint_costs_a_warning_and_some_training(inside, tmp_path, damaged):
    whole = trainable(tmp_path, "expert_iteration")
    go(whole, tmp_path / "whole")
    run = trainable(tmp_path, "expert_iteration")
    run.actions.append((1, dies(4)))
    die(run, tmp_path / "killed")
    assert latest(tmp_path / "killed") == 3
    stored = held(tmp_path / "killed")
    for step in damaged:
        spoil(tmp_path / "killed", step)
    last = trainable(tmp_path, "expert_iteration")
    warning = go(last, tmp_path / "killed")
    assert "step-000003" in warning
    assert "is damaged" in warning
    assert ("continuing from step 2" if damaged == (3,) else f"from step 1 with the {len(stored)} attempts") in warning
    assert all(torch.equal(v, tensors(last)[k]) for k, v in tensors(whole).items())
    assert held(tmp_path / "killed") == held(tmp_path / "whole")


def test_killed_before_the_checkpoint_was_noted_it_is_used_all_the_same(inside, tmp_path):
    run = trainable(tmp_path, "expert_iteration")
    with Store(tmp_path / "run").create({"recipe": "test"}) as store:
        run.memory = Session(store)
        resume(run, store)
        store.begin_step(1)
        save_checkpoint(store.folder, 1, tensors(run), state(run))
        assert store.checkpointed_step() is None
        again = trainable(tmp_path, "expert_iteration")
        assert resume(again, store) is None
    assert again.done == 1


# ------------------------------------------------------------------------------------------ the command


RECIPE = """
import os, signal
from journeyman.feedback import each
from journeyman.recipes import expert_iteration

def recipe(policy="model", tasks="sums.jsonl", steps=5, batch=6, siblings=4, lr=3e-3, at=0):
    judged = 0

    def right(task, text):
        nonlocal judged
        judged += 1
        if judged == at:
            os.kill(os.getpid(), signal.SIGINT)
        return float(text.strip() == task.answer)

    return expert_iteration(policy, tasks, feedback=each(right), steps=steps, batch=batch, siblings=siblings, lr=lr, max_tokens=4)
"""
BEFORE = 20  # attempts of the evaluation, which come first


@pytest.fixture
def command(inside, tmp_path, capfd):
    """Runs the command and returns (exit status, standard error, standard output). ``at`` is when it presses Ctrl-C."""

    def run(*words):
        capfd.readouterr()
        try:
            status = main(["run", *map(str, words)])
        except SystemExit as stop:
            status = stop.code
        out, err = capfd.readouterr()
        return status, err, out

    def begin(folder, at=0):
        recipe = tmp_path / f"{folder.name}.py"  # the command line takes a file's recipe once in a process
        recipe.write_text(RECIPE)
        return run(recipe, "--eval-n", 10, "--eval-k", 2, "--save-every", 2, "--at", at, "--out", folder)

    run.begin = begin
    return run


def lines(err):
    return [line for line in err.splitlines() if line.strip()]


def test_ctrl_c_leaves_one_line_and_a_run_to_resume(command, tmp_path):
    folder = tmp_path / "run"
    status, err, _ = command.begin(folder, at=BEFORE + 4 * 24 + 5)  # in the fifth step
    assert status == 130
    assert "Traceback" not in err
    assert lines(err)[-1] == f"journeyman: stopped; finished attempts are kept, continue with journeyman run --resume {folder}"
    assert sum("journeyman" in line for line in lines(err)) == 1
    stored = held(folder)
    assert len(stored) >= 4 * 24
    status, err, _ = command("--resume", folder)
    assert status == 0, err
    assert "continuing after step 4 of 5" in err
    found = held(folder)
    assert len(found) == 5 * 24
    assert {id: found[id][:2] for id in stored} == {id: value[:2] for id, value in stored.items()}
    assert json.loads((folder / "result.json").read_text()).keys() >= {"before", "after", "change"}


def test_a_complete_run_reports_its_result_and_trains_no_more(command, tmp_path, world):
    folder = tmp_path / "run"
    assert command.begin(folder)[0] == 0
    files = {p: p.read_bytes() for p in (folder / "result.json", folder / "before.json", *folder.glob("checkpoints/*/*"))}
    (tmp_path / "run.py").unlink()  # nor does it need the recipe any more
    status, err, out = command("--resume", folder)
    assert status == 0
    assert lines(err) == [f"journeyman: the run in {folder} is complete; this is its result"]
    assert "before" in out
    assert {p: p.read_bytes() for p in files} == files


def test_the_evaluation_before_is_of_the_start_weights_even_if_it_is_lost(command, tmp_path):
    folder = tmp_path / "run"
    assert command.begin(folder, at=BEFORE + 4 * 24 + 5)[0] == 130
    kept = json.loads((folder / "before.json").read_text())
    (folder / "before.json").unlink()
    assert command("--resume", folder)[0] == 0
    result = json.loads((folder / "result.json").read_text())
    assert result["before"]["tasks"] == kept["tasks"] == json.loads((folder / "before.json").read_text())["tasks"]
    assert result["after"]["tasks"] != kept["tasks"], "or this test could not tell"
    whole = tmp_path / "whole"
    assert command.begin(whole)[0] == 0
    assert audit.weights_hash(load_checkpoint(folder).tensors) == audit.weights_hash(load_checkpoint(whole).tensors)


def test_two_processes_on_one_folder_are_refused(command, tmp_path):
    folder = tmp_path / "run"
    assert command.begin(folder, at=BEFORE + 30)[0] == 130
    holder = f"from journeyman.store import Store; s = Store({str(folder)!r}).open(); print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        status, err, _ = command("--resume", folder)
        other.communicate(b"\n")
    assert status == 2
    assert len(lines(err)) == 1
    assert f"is in use by process {other.pid}" in err


@pytest.mark.parametrize("what", ["missing", "empty", "other"])
def test_a_folder_without_a_run_is_misuse_in_one_line(command, tmp_path, what):
    folder = tmp_path / "run"
    if what != "missing":
        folder.mkdir()
    if what == "other":
        (folder / "notes.txt").write_text("mine")
    status, err, _ = command("--resume", folder)
    assert status == 2
    assert len(lines(err)) == 1
    assert f"{folder} holds no run" in err
    assert not (folder / "run.lock").exists(), "nothing is left there"


def test_all_checkpoints_damaged_the_command_starts_over_with_what_is_stored(command, tmp_path):
    folder = tmp_path / "run"
    assert command.begin(folder, at=BEFORE + 4 * 24 + 5)[0] == 130
    for step in (2, 4):
        spoil(folder, step)
    status, err, _ = command("--resume", folder)
    assert status == 0
    assert "starting over from step 1" in err
    assert load_checkpoint(folder).warning is None
    assert load_checkpoint(folder).step == 5


# ------------------------------------------------------------------------------------------ real kills


def test_killed_at_random_moments_nothing_is_lost():
    words = [sys.executable, str(SCRIPT), "--kills", "3", "--seed", "3", "--fork"]
    words += ["--steps", "12", "--batch", "8", "--siblings", "4"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills over" in done.stdout
    assert "0 violations" in done.stdout


def test_the_audit_finds_what_is_planted(inside, tmp_path):
    plan = harness.Plan("expert_iteration", steps=3, batch=4, siblings=2, save_every=1)
    folder = tmp_path / "run"
    assert main([*plan.words(), "--out", str(folder)]) == 0
    then = audit.look(folder, 3, 0)
    assert audit.compare(then, then) == audit.count_attempts(folder) == audit.learned(folder, plan.last) == []

    found = load_checkpoint(folder)
    name = next(k for k in found.tensors if k.startswith("policy/"))
    save_checkpoint(folder, 3, {**found.tensors, name: found.tensors[name] + 1e-7}, found.state)
    assert any("learning each step once" in fault for fault in audit.learned(folder, plan.last))
    twice = {**found.state, "versions": {"policy": found.state["versions"]["policy"] + 1}}
    save_checkpoint(folder, 3, found.tensors, twice)
    assert any("versions in the checkpoint" in fault for fault in audit.learned(folder, plan.last))

    with Store(folder).open() as store, store._transaction() as db:
        for table in ("traces", "judgements"):
            db.execute(f"DELETE FROM {table} WHERE attempt = '2/1/0'")
        db.execute("DELETE FROM attempts WHERE id = '2/1/0'")
        db.execute("UPDATE attempts SET text = 'other' WHERE id = '2/1/1'")
        db.execute("DELETE FROM judgements WHERE attempt = '1/0/0'")
    faults = audit.compare(then, audit.look(folder, 3, 0))
    assert [f.split(", such")[0] for f in faults] == ["1 attempts lost", "1 attempts changed", "2 judgements lost"]
    assert len(audit.count_attempts(folder)) == 2

    spoil(folder, 3)
    assert "is damaged" in audit.look(folder, 3, 0).fault


def test_a_run_with_relative_paths_resumes_from_another_directory(tmp_path, monkeypatch):
    """The record keeps where the run was started."""
    import shutil

    from journeyman.policies.load import BASE

    started = tmp_path / "started"
    started.mkdir()
    shutil.copytree(BASE, started / "model")
    (started / "tasks.jsonl").write_text("".join(f'{{"prompt": "{i}+1=", "answer": "{i + 1}"}}\n' for i in range(40)))
    monkeypatch.chdir(started)
    words = ["--policy", "model", "--tasks", "tasks.jsonl", "--eval-tasks", "tasks.jsonl", "--max-tokens", "4"]
    sizes = ["--steps", "2", "--batch", "2", "--siblings", "2", "--eval-n", "2", "--eval-k", "1", "--out", "out"]
    assert main(["run", "grpo", *words, *sizes]) == 0
    (started / "out" / "result.json").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["run", "--resume", "../started/out"]) == 0
    assert (started / "out" / "result.json").is_file()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_system_prompt_and_an_extraction_reach_training_and_exam(tmp_path):
    options = Options(out=tmp_path / "out", system="Be brief.", extract="number", eval_n=2)
    run, exam = build("grpo", {"tasks": "gym:gcd@0"}, options)
    for task in (run.curriculum.pick(1)[0].task, exam.tasks[0]):
        assert task.prompt[0] == {"role": "system", "content": "Be brief."}
        assert task.extract == "number"
