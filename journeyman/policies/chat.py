"""Messages to tokens and back, with a tokenizer's own chat template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from transformers import PreTrainedTokenizerBase

from journeyman.types import Message, Prompt

DEFAULT_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ':\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
)
"""Used when a tokenizer has none: ``role:``, a new line, the content, the end token, a new line; the cue is ``assistant:``."""

_MARK = "\u2042journeyman\u2042"  # stands for an answer where a template is probed


class Chat:
    """A tokenizer with its template and end tokens.

    ``ends`` are the ids that end a turn: those given (from config.json), the tokenizer's own end token, and the special
    token with which the template closes an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ends: Iterable[int] = (), vocab: int | None = None) -> None:
        if vocab is not None and (largest := max(tokenizer.get_vocab().values(), default=0)) >= vocab:
            raise ValueError(
                f"the tokenizer has token id {largest} but the model embeds only {vocab} tokens; they are not from the same model"
            )
        self.tokenizer = tokenizer
        if tokenizer.chat_template is None and tokenizer.eos_token is None:
            raise ValueError("the tokenizer has no chat template and no end token; set tokenizer.eos_token and save it again")
        template = tokenizer.chat_template or DEFAULT_TEMPLATE
        if not isinstance(template, str):
            raise ValueError("the tokenizer has several chat templates; keep one in tokenizer.chat_template and save it again")
        self.template = template
        own = [tokenizer.eos_token_id] if isinstance(tokenizer.eos_token_id, int) else []
        self.ends = frozenset(ends) | frozenset(own)
        closing = self._closing(())
        if closing and closing[0] in tokenizer.all_special_ids + list(tokenizer.added_tokens_decoder):
            self.ends |= {closing[0]}
        self._prompt = lru_cache(maxsize=4096)(self._prompt_uncached)
        self._suffix = lru_cache(maxsize=1024)(lambda turn: self._closing(tuple({"role": r, "content": c} for r, c in turn)))
        self._last: dict[tuple[str, ...], np.ndarray] = {}

    # ------------------------------------------------------------------------------- messages -> tokens

    def _text(self, messages: Sequence[Message], cue: bool) -> str:
        text = self.tokenizer.apply_chat_template(
            [dict(m) for m in messages], chat_template=self.template, tokenize=False, add_generation_prompt=cue
        )
        assert isinstance(text, str)
        return text

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a text, with no special tokens added."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False)) if text else ()

    def _prompt_uncached(self, messages: tuple[tuple[tuple[str, str], ...], ...]) -> tuple[int, ...]:
        return self.encode(self._text([dict(m) for m in messages], cue=True))

    def prompt(self, messages: Prompt) -> tuple[int, ...]:
        """Token ids of messages and the cue to answer. Siblings ask again and again, so the last 4,096 are kept."""
        return self._prompt(tuple(tuple(m.items()) for m in messages))

    def render(self, messages: Sequence[Message]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Token ids (L) and the mask (L) of a final assistant message, its end-of-turn token included.

        The answer's tokens are encoded apart from what precedes them, as they are when sampled: the prompt with its
        cue is therefore always a token prefix.
        """
        if not messages:
            raise ValueError("render needs at least one message")
        if messages[-1]["role"] != "assistant":
            tokens = self.prompt(tuple(messages))
            return tokens, (False,) * len(tokens)
        if len(messages) == 1:
            raise ValueError("render: the only message is the assistant's; put the prompt before it")
        before, whole = self._text(messages[:-1], cue=True), self._text(messages, cue=False)
        if not whole.startswith(before):
            raise ValueError(
                "the chat template renders a conversation so that its prompt with the cue to answer is no prefix of it "
                f"(prompt ends {before[-40:]!r}); such a template cannot be trained on: edit it or give another"
            )
        prompt, answer = self.prompt(tuple(messages[:-1])), self.encode(whole[len(before) :])
        own = max((i + 1 for i, token in enumerate(answer) if token in self.ends), default=len(answer))
        return prompt + answer, (False,) * len(prompt) + (True,) * own + (False,) * (len(answer) - own)

    def _closing(self, turn: Prompt) -> tuple[int, ...]:
        """Ids that follow an answer: its end of turn, then ``turn`` and the cue to answer."""
        talk = ({"role": "user", "content": "x"}, {"role": "assistant", "content": _MARK}, *turn)
        _, found, after = self._text(talk, cue=bool(turn)).rpartition(_MARK)
        if not found:
            raise ValueError("the chat template does not show an assistant's content; a conversation cannot be continued with it")
        return self.encode(after)

    def turn(self, tokens: Sequence[int], turn: Prompt) -> tuple[int, ...]:
        """Ids to append to ``tokens``, which end inside or just after an answer, so that ``turn`` and the cue to answer follow."""
        after = self._suffix(tuple((m["role"], m["content"]) for m in turn))
        return after[1:] if tokens and after and tokens[-1] == after[0] and after[0] in self.ends else after

    # ------------------------------------------------------------------------------- tokens -> text

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of drawn tokens; a final end token is not text."""
        if tokens and tokens[-1] in self.ends:
            tokens = tokens[:-1]
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def may_stop(self, stop: tuple[str, ...], vocab: int) -> np.ndarray:
        """Mask (V) of the tokens that could complete a stop string: those that show its last character, or half a character."""
        if stop not in self._last:
            pieces = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))], skip_special_tokens=False)
            last = {s[-1] for s in stop} | {"\ufffd"}
            # Some tokenizers drop the space of a token that is decoded alone: then every token may complete the string.
            mask = np.full(vocab, any(s[-1].isspace() for s in stop))
            mask[: len(pieces)] |= [not last.isdisjoint(piece) for piece in pieces]
            self._last[stop] = mask
        return self._last[stop]

    def stopped(self, drawn: Sequence[int], stop: tuple[str, ...]) -> bool:
        """Whether the last drawn token completed a stop string. Every token shows at least one byte, so only a tail is decoded."""
        tail = max(len(s.encode()) for s in stop) + 4
        text = self.decode(drawn[-tail:])
        return any(s in text for s in stop)
