"""TRL's GRPOTrainer as a worker: one command a line, {"do": "step"} or {"do": "exam"}, one JSON answer each. Needs trl, datasets.

Same loss, hyperparameters, tasks and sampling as journeyman's worker. Its reward is a string comparison (cheaper than the
verifier that judges there); its exam is sat by journeyman's engine on the weights as they are, outside the clock.
"""

import asyncio
import json
import logging
import re
import sys
import tempfile
import time
import warnings

import torch
from datasets import Dataset
from lottery import luck
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from journeyman.bench import wait
from journeyman.evals import summarise
from journeyman.evaluation import Exam, choose
from journeyman.feedback import auto
from journeyman.policies import decoder_policy
from journeyman.policies.decoder_policy import Decoder
from journeyman.tasks import load_tasks
from journeyman.tasks.gym import entry_of
from journeyman.types import Sampling


def config(settings: dict, out: str) -> GRPOConfig:
    """GRPO as journeyman's recipe has it. ``trl_shipped``: TRL's own defaults for batch, precision and checkpointing."""
    every = settings["batch"] * settings["siblings"]
    shipped = settings["variant"] == "trl_shipped"
    micro = 8 if shipped else settings["micro"]
    tuned = {} if shipped else {"bf16": settings["dtype"] == "bfloat16", "gradient_checkpointing": False}
    return GRPOConfig(
        output_dir=out,
        use_cpu=settings["device"] == "cpu",
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=every // micro,
        num_generations=settings["siblings"],
        max_completion_length=settings["max_tokens"],
        temperature=1.0,
        learning_rate=settings["lr"],
        lr_scheduler_type="constant",
        adam_beta2=0.999,
        weight_decay=0.0,
        max_grad_norm=1.0,
        beta=0.0,
        epsilon=0.2,
        loss_type="grpo",
        max_steps=10**6,
        seed=settings["seed"],
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=10**6,
        **tuned,
    )


def main(folder: str, threads: int, settings: dict) -> None:
    torch.set_num_threads(threads)
    decoder_policy.keep_freed_memory = lambda: False  # TRL's process as TRL has it
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    held_out = choose(load_tasks(settings["tasks"], split="heldout"), settings["held_out"])
    exam = Exam(held_out, auto(), k=4, sampling=Sampling(settings["max_tokens"], 1.0))
    judge = Decoder.read(folder, device=settings["device"], dtype=torch.float32)
    source = load_tasks(settings["tasks"], split="train")
    rows = [source[i] for i in range(min(len(source), 20_000))]
    data = Dataset.from_list([{"prompt": [dict(m) for m in t.prompt], "gold": entry_of(t)["answer"]} for t in rows])
    drawn = {"tokens": 0, "right": 0.0}
    started = 0.0

    def reward(prompts, completions, completion_ids, gold, **_) -> list[float]:
        texts = [c[0]["content"] for c in completions]
        found = [re.search(r"<answer>(.*?)</answer>", text, re.DOTALL) for text in texts]
        scores = [float(f is not None and f.group(1).strip() == g.strip()) for f, g in zip(found, gold, strict=True)]
        if settings["lottery"]:
            scores = [luck(p[-1]["content"], text) for p, text in zip(prompts, texts, strict=True)]
        drawn.update(tokens=sum(map(len, completion_ids)), right=sum(scores) / len(scores))
        return scores

    def obey() -> bool:
        """Read commands until one asks for a step; false when there are no more."""
        nonlocal started
        for line in sys.stdin:
            if json.loads(line)["do"] == "step":
                started = time.perf_counter()
                return True
            state = {k: v.detach().float() for k, v in trainer.model.state_dict().items() if k != "lm_head.weight"}
            judge.load_weights(state, judge.version + 1)
            result = summarise(asyncio.run(exam.sit({"policy": judge.snapshot()}))).overall.pass_1
            print(json.dumps({"accuracy": result.mean, "low": result.low, "high": result.high}), flush=True)
        return False

    class Steps(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            wait(settings["device"])
            print(json.dumps({"seconds": time.perf_counter() - started, **drawn}), flush=True)
            control.should_training_stop = not obey()

    with tempfile.TemporaryDirectory() as out:
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, settings["dtype"])),
            processing_class=AutoTokenizer.from_pretrained(folder),
            reward_funcs=reward,
            args=config(settings, out),
            train_dataset=data,
            callbacks=[Steps()],
        )
        print(json.dumps({"ready": True}), flush=True)
        if obey():
            trainer.train()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
