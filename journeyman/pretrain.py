"""Pretrains a small base model on the step-by-step traces of exact solvers (procedure cloning).

A tokenizer of about a thousand byte-level BPE entries with single digits, a Qwen3-shaped decoder of one to two million
parameters, rows streamed without end from ``tasks.solvers`` and trained on the assistant's tokens only. Muon for the
matrices of the layers and AdamW for the rest, linear warm-up and linear decay to zero, length-bucketed batches. State is
saved every few minutes, and a killed run continues.

Procedure cloning: Yang et al. 2022, arXiv 2205.10816. Differs from the paper in that the procedure is written out as
text by an exact solver for each task family, not logged from a planner. Muon: Jordan et al. 2024
(kellerjordan.github.io/posts/muon); its steps are scaled to AdamW's size as in Liu et al. 2025, arXiv 2502.16982.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from journeyman.policies.chat import Chat
from journeyman.policies.decoder import Architecture, CausalLM
from journeyman.policies.folder import put_weights, read_config, read_tokenizer, read_weights, write_model
from journeyman.scope import seed_of
from journeyman.store.checkpoint import latest, load_checkpoint, save_checkpoint
from journeyman.tasks.solvers.mixture import ROLE_WEIGHTS, pretraining_rows
from journeyman.types import Message

Row = tuple[tuple[int, ...], tuple[bool, ...]]  # tokens, train mask
_OPTIMIZERS = ("muon", "adamw")
USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|end|>"
TEMPLATE = (
    "{% for m in messages %}"
    "{{ ('<|assistant|>' if m['role'] == 'assistant' else '<|user|>') + m['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@dataclass(frozen=True)
class Recipe:
    """What defines a base model. ``rows`` in all; ``batch_tokens`` padded tokens an update; sizes as in a Qwen3 config."""

    rows: int = 400_000
    batch_tokens: int = 5_000
    lr: float = 3e-3
    "Peak rate of AdamW (embedding and norms)."
    matrix_lr: float = 7e-3
    "Peak rate of Muon (the matrices of the layers)."
    bfloat16: bool = True
    "Matrix products in bfloat16 (attention, weights and moments stay float32)."
    warmup: int = 200
    weight_decay: float = 0.1
    seed: int = 0
    vocab: int = 1024
    hidden: int = 160
    intermediate: int = 480
    layers: int = 4
    heads: int = 6
    kv_heads: int = 2
    head_dim: int = 32
    context: int = 1024
    families: str = ""
    "Families to train on, separated by commas; none named is all of them."
    roles: bool = True
    "Also verify, revise, choose, try again and decline, not only solve."
    start: str = ""
    "A model folder of the same shape to begin with (weights and tokenizer); none is random weights and a new tokenizer."

    def stream(self, *place: object) -> Iterator[list[Message]]:
        """The endless rows of one place (a worker, a resumed part)."""
        return pretraining_rows(
            seed_of("pretrain", self.seed, *place),
            tuple(x.strip() for x in self.families.split(",") if x.strip()),
            role_weights=ROLE_WEIGHTS if self.roles else {"solve": 1.0},
        )

    def config(self) -> dict[str, Any]:
        """The Hugging Face configuration."""
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "vocab_size": self.vocab,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.context,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            "tie_word_embeddings": True,
            "attention_bias": False,
        }


def begin(recipe: Recipe) -> tuple[PreTrainedTokenizerBase, dict[str, Tensor]]:
    """The tokenizer and the weights that training begins with (none: random ones). ValueError where shapes differ."""
    if not recipe.start:
        return train_tokenizer(recipe), {}
    found, wanted = read_config(Path(recipe.start)), recipe.config()
    shape = [name for name in wanted if name.endswith(("_size", "_layers", "_heads", "_dim"))]
    if other := [f"{name} {found.get(name)} (here {wanted[name]})" for name in shape if found.get(name) != wanted[name]]:
        raise ValueError(f"{recipe.start} has another shape: {', '.join(other)}; repeat its sizes")
    return read_tokenizer(Path(recipe.start)), read_weights(Path(recipe.start))


def train_tokenizer(recipe: Recipe, rows: int = 20_000) -> PreTrainedTokenizerFast:
    """Byte-level BPE with every digit its own token, trained on the first rows of the stream."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab,
        special_tokens=["<|pad|>", USER, ASSISTANT, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    stream = recipe.stream("tokenizer")
    bpe.train_from_iterator((m["content"] for _, row in zip(range(rows), stream, strict=False) for m in row), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, pad_token="<|pad|>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


class Rows(IterableDataset):
    """Encoded rows: (tokens, train mask). Workers read different streams; ``start`` separates a resumed run's."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, start: int) -> None:
        self.recipe, self.tokenizer, self.start = recipe, tokenizer, start

    def __iter__(self) -> Iterator[list[Row]]:
        torch.set_num_threads(1)
        worker = get_worker_info()
        chat = Chat(self.tokenizer, vocab=self.recipe.vocab)
        stream = self.recipe.stream(self.start, worker.id if worker else 0)
        rows = (row for row in map(chat.render, stream) if len(row[0]) <= self.recipe.context)
        while True:
            pool = sorted((next(rows) for _ in range(2048)), key=lambda row: len(row[0]))
            batches = list(buckets(pool, self.recipe.batch_tokens))
            order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(len(pool[0][0]) + len(pool[-1][0])))
            yield from (batches[i] for i in order.tolist())


def buckets(rows: list[Row], tokens: int) -> Iterator[list[Row]]:
    """Neighbours of a sorted list, so many that rows x longest <= tokens."""
    batch: list[Row] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(row[0]) > tokens:
            yield batch
            batch = []
        batch.append(row)
    yield batch


def pad(rows: list[Row]) -> tuple[Tensor, Tensor]:
    """(tokens, mask) as tensors (B, T), T a multiple of 8: few shapes, since the kernels' caches grow with each."""
    longest = -(-max(len(tokens) for tokens, _ in rows) // 8) * 8
    tokens, mask = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, (t, m) in enumerate(rows):
        tokens[i, : len(t)], mask[i, : len(m)] = torch.tensor(t), torch.tensor(m)
    return tokens, mask


def loss_of(model: CausalLM, tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean cross-entropy (nats a token) of the masked tokens given those before them."""
    hidden = model.hidden(tokens)[:, :-1][mask[:, 1:]]
    return F.cross_entropy(F.linear(hidden, model.head), tokens[:, 1:][mask[:, 1:]])


def rate(recipe: Recipe, step: int, rows: int) -> float:
    """Share of the peak rate: linear warm-up over steps, then linear decay to zero over rows."""
    return min(1.0, (step + 1) / recipe.warmup) * max(0.0, 1.0 - rows / recipe.rows)


class Trainer:
    """A model in training with its optimisers, and how far it is."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.model = CausalLM(Architecture.of(recipe.config()))
        self.model.initialise(recipe.seed)
        rest = [self.model.model.embed_tokens.weight, *(p for p in self.model.parameters() if p.dim() == 1)]
        matrices = [p for p in self.model.model.layers.parameters() if p.dim() == 2]
        self.optimizers = (
            torch.optim.Muon(matrices, lr=recipe.matrix_lr, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=recipe.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
        )
        self.step, self.rows = 0, 0

    def learn(self, rows: list[Row]) -> float:
        """One update; returns the loss."""
        share = rate(self.recipe, self.step, self.rows)
        for optimizer, peak in zip(self.optimizers, (self.recipe.matrix_lr, self.recipe.lr), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * share
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            loss = loss_of(self.model, *pad(rows))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step, self.rows = self.step + 1, self.rows + len(rows)
        return loss.item()

    def save(self, out: Path) -> None:
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        for name, optimizer in zip(_OPTIMIZERS, self.optimizers, strict=True):
            for i, moments in optimizer.state_dict()["state"].items():
                tensors |= {f"{name}/{i}/{k}": v for k, v in moments.items()}
        save_checkpoint(out, self.step, tensors, {"rows": self.rows}, keep=1)

    def load(self, out: Path) -> None:
        found = load_checkpoint(out)
        self.model.load_state_dict({k.removeprefix("model/"): v for k, v in found.tensors.items() if k.startswith("model/")})
        for name, optimizer in zip(_OPTIMIZERS, self.optimizers, strict=True):
            moments: dict[int, dict[str, Tensor]] = {}
            for key, tensor in found.tensors.items():
                if key.startswith(f"{name}/"):
                    _, i, moment = key.split("/")
                    moments.setdefault(int(i), {})[moment] = tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        self.step, self.rows = found.step, found.state["rows"]


def pretrain(recipe: Recipe, out: Path, note: Callable[[str], None], save_seconds: float = 300.0) -> Path:
    """Train a base model into ``out``, a Hugging Face folder in bfloat16 (the float32 training state stays in its checkpoints/).
    Continues where a killed run of the same recipe stopped; ValueError where the folder holds another. Returns the folder."""
    settings, mine = out / "pretrain.json", json.dumps(asdict(recipe), indent=1)
    if settings.exists() and settings.read_text() != mine:
        raise ValueError(f"{out} holds another pretraining (see {settings}); repeat its settings or choose another --out")
    recipe.stream()  # refuses unknown families before anything is written
    tokenizer, weights = begin(recipe)
    out.mkdir(parents=True, exist_ok=True)
    settings.write_text(mine)
    trainer = Trainer(recipe)
    if weights:
        put_weights(trainer.model.state_dict(), weights, recipe.start)
    if latest(out) is not None:
        trainer.load(out)
        note(f"continuing at {trainer.rows:,} of {recipe.rows:,} rows")
    saved = shown = time.monotonic()
    seen, smooth = trainer.rows, 0.0
    if trainer.rows < recipe.rows:
        for rows in DataLoader(Rows(recipe, tokenizer, trainer.rows), batch_size=None, num_workers=1, prefetch_factor=64):
            loss = trainer.learn(rows)
            smooth = 0.98 * smooth + 0.02 * loss if smooth else loss
            now, over = time.monotonic(), trainer.rows >= recipe.rows
            if over or now - shown > 15:
                speed = (trainer.rows - seen) / (now - shown)
                left = max(0, recipe.rows - trainer.rows) / speed / 60
                note(f"{trainer.rows:>9,} / {recipe.rows:,} rows  loss {smooth:.4f}  {speed:.0f} rows/s  {left:.1f} min left")
                shown, seen = now, trainer.rows
            if over or now - saved > save_seconds:
                trainer.save(out)
                saved = now
            if over:
                break
    config = recipe.config() | {"eos_token_id": tokenizer.convert_tokens_to_ids(END), "pad_token_id": 0}
    write_model(out, config, {name: tensor.bfloat16() for name, tensor in trainer.model.state_dict().items()}, tokenizer)
    return out
