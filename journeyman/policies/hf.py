"""Any transformers causal language model as a policy. For architectures that the decoder does not read."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from journeyman.batch import Batch
from journeyman.policies.chat import Chat
from journeyman.policies.folder import end_ids, put_weights, read_config, read_tokenizer
from journeyman.policies.hf_rounds import Rounds
from journeyman.policies.scoring import GIVES, forward, row_by_row, score_sequences, wanted
from journeyman.policies.together import Together
from journeyman.policies.token_policy import TokenPolicy
from journeyman.protocols import Words


class HF(TokenPolicy):
    """A transformers causal model with its tokenizer, sampled in rounds and trained in place.

    ``hidden`` of ``forward`` is the last of the model's ``hidden_states``. Whoever changes the weights says so with
    ``after_step``. A snapshot copies the weights.
    """

    gives: Words = GIVES

    def __init__(self, model: PreTrainedModel, chat: Chat, name: str = "policy", *, max_rows: int = 64) -> None:
        text = model.config.get_text_config()
        context = int(getattr(text, "max_position_embeddings", None) or 2048)
        engine = Rounds(model.eval(), chat, lambda: self._version, context, max_rows)
        super().__init__(name, chat, engine, Together(self._score), int(text.vocab_size), context)
        self.model, self.max_rows = model, max_rows
        self._version = 0
        self._snapshot: HF | None = None

    @staticmethod
    def read(
        folder: Path | str, name: str = "policy", *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> HF:
        """The model of a Hugging Face folder; ``dtype`` None keeps the file's."""
        folder = Path(folder)
        config = read_config(folder)
        if not any(folder.glob("*.safetensors")):
            raise ValueError(f"{folder} has no safetensors weights; save the model there with save_pretrained")
        tokenizer = read_tokenizer(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or "auto")
        cast(nn.Module, model).to(device)  # transformers wraps this method without types
        return HF(model, Chat(tokenizer, end_ids(folder, config), int(model.config.get_text_config().vocab_size)), name)

    # ------------------------------------------------------------------------------------ sampling

    @property
    def parameters(self) -> int:
        """Weights of the model, its input embedding left out unless it is the head too."""
        total = sum(p.numel() for p in self.model.parameters())
        embed, head = self.model.get_input_embeddings(), self.model.get_output_embeddings()
        tied = head is None or head.weight is embed.weight
        return total if tied else total - sum(p.numel() for p in embed.parameters())

    @property
    def version(self) -> int:
        return self._version

    def _score(self, items: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
        return score_sequences(self._states, _same, self.vocab, self.model.device, items, 4096)

    def snapshot(self) -> HF:
        """A copy that goes on sampling from the weights of this version."""
        if self._snapshot is None or self._snapshot.version != self._version:
            self._snapshot = self.frozen()
        return self._snapshot

    # ------------------------------------------------------------------------------------ training

    def _states(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, V) of tokens padded on the right; causal attention needs no mask."""
        return self.model(input_ids=tokens, use_cache=False).logits

    def forward(self, batch: Batch, want: Words) -> dict[str, Tensor]:
        """``logp`` and ``entropy`` (B, T) at trained positions, 0 elsewhere, under softmax(logits / batch.temperature);
        ``hidden`` (B, T, D); ``logits`` (B, T, V), of which ``logp`` is the log-softmax. Rows go in chunks of about 4,096 tokens,
        whose logits are whole: some heads cap or scale them."""
        short = wanted(want)
        rows = max(1, 4096 // batch.tokens.shape[1])
        out = {}
        if short - {"hidden"}:
            out = forward(row_by_row(self._states), _same, self.vocab, batch, short - {"hidden"}, rows)
        if "hidden" in short:
            parts = batch.tokens.split(rows)
            out["hidden"] = torch.cat(
                [self.model(input_ids=x, use_cache=False, output_hidden_states=True).hidden_states[-1] for x in parts]
            )
        return out

    def trained(self) -> Iterable[tuple[str, Tensor]]:
        """Names and tensors of the weights that train."""
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def frozen(self) -> HF:
        """A copy whose weights never change."""
        policy = HF(copy.deepcopy(self.model).requires_grad_(False), self.chat, self.name, max_rows=self.max_rows)
        policy._version = self._version
        return policy

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder."""
        self.model.save_pretrained(folder)
        self.chat.tokenizer.save_pretrained(folder)

    def weights(self) -> dict[str, Tensor]:
        """The trained tensors by name, detached (not copied)."""
        return {name: p.detach() for name, p in self.trained()}

    def load_weights(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Put back what ``weights`` gave at that version."""
        put_weights(dict(self.trained()), weights, self.name)
        self._version, self._snapshot = version, None

    def after_step(self, stats: Mapping[str, float]) -> None:
        """The weights moved: count the version."""
        self._version += 1


def _same(logits: Tensor) -> Tensor:
    return logits
