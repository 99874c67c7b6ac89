"""The project's own model as a policy: sampled by the engine, trained by any learner."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from journeyman.batch import Batch
from journeyman.policies.adapter import Adapter, write_adapter
from journeyman.policies.allocator import keep_freed_memory
from journeyman.policies.chat import Chat
from journeyman.policies.decoder import Architecture, CausalLM, Linear
from journeyman.policies.engine import Engine
from journeyman.policies.folder import end_ids, put_weights, read_model, read_tokenizer, write_model
from journeyman.policies.fused import Fused
from journeyman.policies.packed import pack, states, usable
from journeyman.policies.products import half
from journeyman.policies.scoring import GIVES, Read, forward, row_by_row, score_sequences
from journeyman.policies.together import Together
from journeyman.policies.token_policy import TokenPolicy
from journeyman.protocols import Words

_CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}


class Decoder(TokenPolicy):
    """A Llama, Qwen2 or Qwen3 model with its tokenizer. ``Decoder.read(folder)`` loads one, ``Decoder.fresh`` starts one.

    What trains is what ``requires_grad``: every weight, or the adapters when ``adapter`` is given (see ``lora``). Sampling
    goes through a fused copy of the weights made once a version (see ``fused.py``), so the weights may change between any
    two tokens: each token's version is in its trace. Whoever changes them says so with ``after_step``.
    """

    gives: Words = GIVES

    def __init__(
        self,
        model: CausalLM,
        config: Mapping[str, Any],
        chat: Chat,
        name: str = "policy",
        *,
        adapter: Adapter | None = None,
        max_rows: int = 256,
    ) -> None:
        keep_freed_memory()
        engine = Engine(self.fused, chat, max_rows=max_rows)
        a = model.architecture
        super().__init__(name, chat, engine, Together(self._score), a.vocab_size, a.context)
        self.model, self.config, self.adapter, self.max_rows = model, dict(config), adapter, max_rows
        self.int8 = False
        """Draw samples with weights and activations rounded to int8 (an experiment, see benchmarks/int8.py). Traces then hold the
        log-probabilities of that distribution: correct with ``truncated``, or learn verified answers only."""
        self.half = False
        """Learn with products rounded to bfloat16 (an experiment, see benchmarks/half.py); head, attention, norms, weights and
        gradients stay float32. ``mismatch`` tells how far the learner is then from what drew the samples."""
        looked_up = 0 if a.tied else model.model.embed_tokens.weight.numel()  # not multiplied; a tied table is the head too
        self.parameters = sum(p.numel() for p in model.parameters()) - looked_up
        """Weights a token passes through."""
        self._version = 0
        self._fused: Fused | None = None
        self._snapshot: Snapshot | None = None

    @staticmethod
    def read(
        folder: Path | str,
        name: str = "policy",
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        max_rows: int = 256,
    ) -> Decoder:
        """The model of a Hugging Face folder; ``dtype`` None keeps the file's."""
        folder = Path(folder)
        model, config = read_model(folder, dtype)
        chat = Chat(read_tokenizer(folder), end_ids(folder, config), model.architecture.vocab_size)
        return Decoder(model.to(device), config, chat, name, max_rows=max_rows)

    @staticmethod
    def fresh(
        config: Mapping[str, Any],
        tokenizer: PreTrainedTokenizerBase,
        name: str = "policy",
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> Decoder:
        """A model of this configuration with random weights (float32)."""
        model = CausalLM(Architecture.of(config))
        model.initialise(seed, float(config.get("initializer_range", 0.02)))
        config = {**config, "architectures": [_CLASSES[model.architecture.family]]}
        return Decoder(model.to(device), config, Chat(tokenizer, (), model.architecture.vocab_size), name)

    # ------------------------------------------------------------------------------------ sampling

    @property
    def version(self) -> int:
        return self._version

    def fused(self) -> Fused:
        """The weights to sample with now."""
        if self._fused is None or self._fused.version != self._version:
            self._fused = Fused(self.model, self._version, self.int8)
        return self._fused

    def _score(self, items: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
        device = self.model.model.embed_tokens.weight.device
        return score_sequences(self.model.hidden, self.model.logits, self.vocab, device, items)

    def snapshot(self) -> Snapshot:
        """A view that goes on sampling from the weights of this version. Views of one version are one object."""
        if self._snapshot is None or self._snapshot.weights is not self.fused():
            self._snapshot = Snapshot(self)
        return self._snapshot

    # ------------------------------------------------------------------------------------ training

    def forward(self, batch: Batch, want: Words) -> dict[str, Tensor]:
        """``logp`` and ``entropy`` (B, T) at trained positions, 0 elsewhere, under softmax(logits / batch.temperature);
        ``hidden`` (B, T, D), the states whose product with the head is the logits (at padding any state, to be masked);
        ``logits`` (B, T, V), of which ``logp`` is the log-softmax."""
        rows = len(batch.tokens) if torch.is_grad_enabled() else max(1, 16384 // batch.tokens.shape[1])
        return forward(self._read(), self.model.logits, self.vocab, batch, want, rows)

    def _read(self) -> Read:
        use, rows = usable(self.model), row_by_row(self.model.hidden)

        def read(tokens: Tensor, train: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            with half(self.half):  # not the head, whose sums are log-probabilities
                if use is None:
                    return rows(tokens, train, lengths)
                distinct, places, where = pack(tokens, train, lengths)
                return states(self.model, use, distinct, places), where

        return read

    def trained(self) -> Iterable[tuple[str, Tensor]]:
        """Names and tensors of the weights that train."""
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def frozen(self) -> Decoder:
        """A copy that never changes. With adapters: the base model, its tensors shared; else the weights are copied."""
        kept = {id(p): p for p in self.model.parameters()} if self.adapter else {}
        model = copy.deepcopy(self.model, kept)
        for module in list(model.modules()) if self.adapter else []:
            for name, child in list(module.named_children()):
                if isinstance(child, Linear):
                    setattr(module, name, child.base())
        if not self.adapter:
            model.requires_grad_(False)
        policy = Decoder(model, self.config, self.chat, self.name, max_rows=self.max_rows)
        policy._version, policy.half = self._version, self.half
        return policy

    def save(self, folder: Path, *, merged: bool = False) -> None:
        """Write a Hugging Face folder; with adapters a PEFT adapter folder, or the merged model when ``merged``."""
        folder = Path(folder)
        if self.adapter and not merged:
            write_adapter(folder, self.adapter, self.weights(), self.chat.tokenizer)
        else:
            config = {"architectures": [_CLASSES[self.model.architecture.family]], **self.config}
            write_model(folder, config, self._dense(), self.chat.tokenizer)

    @torch.no_grad()
    def _dense(self) -> dict[str, Tensor]:
        """Every weight under its transformers name, adapters merged."""
        tensors: dict[str, Tensor] = {}
        adapted = {f"{name}.weight": m.dense() for name, m in self.model.named_modules() if isinstance(m, Linear)}
        for name, tensor in self.model.named_parameters():
            if ".lora_" not in name:
                tensors[name] = adapted.get(name, tensor)
        return tensors

    def weights(self) -> dict[str, Tensor]:
        """The trained tensors by name, detached (not copied)."""
        return {name: p.detach() for name, p in self.trained()}

    def load_weights(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Put back what ``weights`` gave at that version."""
        put_weights(dict(self.trained()), weights, self.name)
        self._version, self._fused = version, None

    def after_step(self, stats: Mapping[str, float]) -> None:
        """The weights moved: count the version. The next draw uses them; new calls share nothing that older ones read."""
        self._version += 1


class Snapshot(TokenPolicy):
    """A policy's weights of one version, for sampling. Shares the fused copy and the tokenizer with its policy, and has an
    engine of its own, so that it is not moved by what happens to the policy."""

    def __init__(self, policy: Decoder) -> None:
        weights = policy.fused()
        engine = Engine(lambda: weights, policy.chat, max_rows=policy.max_rows)
        super().__init__(policy.name, policy.chat, engine, Together(weights.score), policy.vocab, policy.context)
        self.weights, self.parameters, self.version = weights, policy.parameters, weights.version

    def snapshot(self) -> Snapshot:
        return self
