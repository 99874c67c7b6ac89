"""Kill a run again and again at random moments, resume it each time, and audit that nothing was lost.

    python scripts/kill_and_resume.py --kills 25 --seed 0 --recipe expert_iteration

Makes a tiny model and a file of sums, trains it once without a kill (the reference, whose duration the kills are drawn
over), then trains it anew: each life gets SIGKILL, process group and all, after a time drawn uniformly from the duration of
the reference, and the next one resumes. A run that ends before its kill is audited, and the next run starts, until all kills
are spent; the last run may then end. After each kill every attempt in the store is hashed, and the checkpoint is read.

Audit of each run: no attempt that was stored at a kill is missing or different at the end, nor its judgement; each step has
its attempts once, without gaps; each attempt is judged once; all steps ended; the learner counts one update a step; a replay
of all steps from the start weights and the stored attempts alone gives the checkpoint bit for bit (weights, optimiser, policy
version, replay buffer, curriculum), so each step's lessons were trained on exactly once; the first evaluation is the
reference's. Exit status 0 where all holds, 1 otherwise. ``--fork`` forks lives off this process, imports done, so that
they are short and kills fall on the work; without it each life is a new interpreter.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from run_audit import Seen, compare, count_attempts, learned, look, weights_hash
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from journeyman import recipes
from journeyman.cli import main as journeyman
from journeyman.policies.chat import Chat
from journeyman.policies.decoder import Architecture, CausalLM
from journeyman.policies.folder import write_model
from journeyman.pretrain import ASSISTANT, END, TEMPLATE, USER, Recipe, loss_of, pad
from journeyman.store import Store, load_checkpoint

MARK = "KILL_AND_RESUME"  # in the environment of every life, so that what one leaves behind is found


# ---------------------------------------------------------------------------------------- what is trained


def make_world(folder: Path, seed: int) -> None:
    """``folder/sums.jsonl``: "a+b=" for a, b < 15. ``folder/model``: a Qwen3 of some 20,000 weights over bytes that has seen
    them just often enough to be right now and then, so that there is something to learn from."""
    rows = [{"prompt": f"{a}+{b}=", "answer": str(a + b)} for a in range(15) for b in range(15)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bpe.add_special_tokens(["<|pad|>", USER, ASSISTANT, END])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, pad_token="<|pad|>")
    tokenizer.chat_template = TEMPLATE
    sizes = Recipe(vocab=264, hidden=32, intermediate=64, layers=2, heads=2, kv_heads=1, head_dim=16, context=64)
    model = CausalLM(Architecture.of(sizes.config()))
    model.initialise(seed)
    chat, rng = Chat(tokenizer, vocab=sizes.vocab), random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(350):
        picked = rng.sample(rows, 32)
        talks = [[{"role": "user", "content": r["prompt"]}, {"role": "assistant", "content": r["answer"]}] for r in picked]
        loss_of(model, *pad([chat.render(talk) for talk in talks])).backward()
        optimizer.step()
        optimizer.zero_grad()
    config = sizes.config() | {"eos_token_id": tokenizer.convert_tokens_to_ids(END), "pad_token_id": 256}
    write_model(folder / "model", config, dict(model.state_dict()), tokenizer)


@dataclass(frozen=True)
class Plan:
    """The run under test."""

    recipe: str
    steps: int
    batch: int
    siblings: int
    save_every: int

    @property
    def last(self) -> int:
        """The last step; a recipe without the argument ``steps`` has one."""
        return self.steps if "steps" in inspect.signature(getattr(recipes, self.recipe)).parameters else 1

    def words(self) -> list[str]:
        """The command's words, without its folder."""
        known = inspect.signature(getattr(recipes, self.recipe)).parameters
        given = {"policy": "model", "tasks": "sums.jsonl", "feedback": "exact()", "steps": self.steps, "batch": self.batch}
        given |= {"siblings": self.siblings, "lr": 3e-3, "max_tokens": 4, "soft": 2, "updates": 2}
        given = {k: v for k, v in given.items() if k in known}
        given |= {"eval_n": 40, "eval_k": 4, "save_every": self.save_every, "device": "cpu"}
        return ["run", self.recipe, *(x for k, v in given.items() for x in (f"--{k.replace('_', '-')}", str(v)))]


# ---------------------------------------------------------------------------------------- lives


class Interpreter:
    """A life in a new interpreter, as a user starts one."""

    def __init__(self, words: list[str], log: Path) -> None:
        with log.open("ab") as out:
            command = [sys.executable, "-m", "journeyman", *words]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        self.pid = self.process.pid

    def wait(self, seconds: float | None) -> int | None:
        """The exit status (minus the signal), or None if it is still alive then."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


class Fork:
    """A life forked off this process, which has done the imports."""

    def __init__(self, words: list[str], log: Path) -> None:
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os.dup2(out, 1)
            os.dup2(out, 2)
            status = 1
            try:
                status = journeyman(words)
            finally:
                os._exit(status)

    def wait(self, seconds: float | None) -> int | None:
        """The exit status (minus the signal), or None if it is still alive then."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, 0 if end is None else os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if end is not None and time.monotonic() >= end:
                return None
            time.sleep(0.005)


def left_behind() -> int:
    """Processes that bear the mark and are not this one; those that are just ending get ten seconds."""
    mark, end = f"{MARK}={os.environ[MARK]}".encode(), time.monotonic() + 10
    while True:
        found = 0
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                found += int(path.parent.name) != os.getpid() and mark in path.read_bytes().split(b"\0")
            except (OSError, ValueError):  # it ended, or is another user's
                continue
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)


# ---------------------------------------------------------------------------------------- the whole


@dataclass
class Harness:
    """Lives of runs, and what was found wrong."""

    plan: Plan
    fork: bool
    say: Callable[[str], None]
    faults: list[str] = field(default_factory=list)
    table: Table = field(
        default_factory=lambda: Table("kill", "run", "after s", "killed in", "attempts then", "of those at the end")
    )
    kills: int = 0

    def live(self, folder: Path, words: list[str], seconds: float | None) -> int | None:
        """One life; its exit status, or None if it was killed after these seconds."""
        life = (Fork if self.fork else Interpreter)(words, folder.with_suffix(".log"))
        status = life.wait(seconds)
        if status is None:
            os.killpg(life.pid, signal.SIGKILL)
            life.wait(None)
        return status

    def run(self, number: int, rng: random.Random, kills: int, longest: float) -> bool:
        """One run, killed until it ends or no kill is left; true if it ended well enough to be audited."""
        folder = Path(f"run{number}")
        sights: list[tuple[int, Seen, float]] = []
        while True:
            exists = folder.joinpath("run.sqlite").is_file() and self.begun(folder)
            words = ["run", "--resume", str(folder)] if exists else [*self.plan.words(), "--out", str(folder)]
            delay = rng.uniform(0, longest)
            since = time.time()
            status = self.live(folder, words, delay if self.kills < kills else None)
            now = look(folder, self.plan.last, since)
            for kill, then, _ in sights:
                self.faults += [f"after kill {kill}, at the next: {fault}" for fault in compare(then, now)]
            if now.fault:
                self.faults.append(f"run {number}: {now.fault}")
            if status is not None:
                break
            self.kills += 1
            sights.append((self.kills, now, delay))
            self.say(f"kill {self.kills} after {delay:.1f} s in {now.where} with {len(now.attempts)} attempts stored")
        for kill, then, delay in sights:
            kept = sum(now.attempts.get(k) == v for k, v in then.attempts.items())
            self.table.add_row(str(kill), str(number), f"{delay:.1f}", then.where, str(len(then.attempts)), str(kept))
        if status != 0:
            self.faults.append(f"run {number} ended with exit status {status}; the end of its log: {tail(folder)}")
        return status == 0

    def begun(self, folder: Path) -> bool:
        """Whether there is a run to resume; one killed before its record was written starts again with the same command."""
        with closing(sqlite3.connect(f"{(folder / 'run.sqlite').absolute().as_uri()}?mode=ro", uri=True)) as db:
            return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'run'").fetchone() is not None

    def audit(self, number: int, reference: str) -> None:
        """All that must hold at the end of a run."""
        folder = Path(f"run{number}")
        with Store(folder).open(readonly=True) as store:
            counts = store.counts()
        shares = [json.loads((f / "before.json").read_text())["tasks"] for f in (folder, Path("run0"))]
        faults = [] if shares[0] == shares[1] else ["the evaluation before is not that of the start weights"]
        faults += [*count_attempts(folder), *learned(folder, self.plan.last)]
        self.faults += [f"run {number}: {fault}" for fault in faults]
        own = weights_hash(load_checkpoint(folder).tensors)
        same = "the same" if own == reference else "others (rounding in a batch of another size)"
        result = json.loads((folder / "result.json").read_text())
        self.say(
            f"run {number}: {counts['steps']:.0f} steps, {counts['attempts']} attempts, {counts['judgements']:.0f} judgements, "
            f"pass@1 change {result['change']['mean']:+.3f}; {'passes' if not faults else 'FAILS'} the audit; "
            f"final tensors {own}, {same} as without kills"
        )


def tail(folder: Path) -> str:
    return folder.with_suffix(".log").read_text(errors="replace")[-2000:]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="expert_iteration", choices=sorted(recipes.__all__))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--siblings", type=int, default=8)
    parser.add_argument("--save-every", type=int, default=3)
    parser.add_argument("--fork", action="store_true", help="fork lives off this process in place of new interpreters")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    os.environ |= {"OMP_NUM_THREADS": "1", MARK: str(os.getpid())}
    began, rng = time.monotonic(), random.Random(asked.seed)
    plan = Plan(asked.recipe, asked.steps, asked.batch, asked.siblings, asked.save_every)
    harness = Harness(plan, asked.fork, say=lambda line: print(line, flush=True))
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        make_world(Path(), asked.seed)
        print(f"$ journeyman {' '.join(plan.words())} --out run0", flush=True)
        started = time.monotonic()
        if not harness.run(0, rng, kills=0, longest=0):
            print("\n".join(harness.faults))
            return 1
        longest = time.monotonic() - started
        print(f"reference: {longest:.1f} s without a kill", flush=True)
        reference = weights_hash(load_checkpoint("run0").tensors)
        harness.audit(0, reference)
        number = 0
        while harness.kills < asked.kills:
            number += 1
            if not harness.run(number, rng, asked.kills, longest):
                break
            harness.audit(number, reference)
        if left := left_behind():
            harness.faults.append(f"{left} processes are left behind")
        os.chdir("/")
    Console(width=120).print(harness.table)
    for fault in harness.faults:
        print(f"VIOLATION {fault}")
    print(f"{harness.kills} kills over {number} runs, {len(harness.faults)} violations, {time.monotonic() - began:.0f} s")
    return bool(harness.faults)


if __name__ == "__main__":
    sys.exit(main())
