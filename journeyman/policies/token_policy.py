"""What every policy that holds tokens does alike: turn prompts into tokens, sample, and write the trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Protocol

from journeyman.policies.chat import Chat
from journeyman.policies.engine import Drawn, check_tokens
from journeyman.policies.together import Together
from journeyman.protocols import NONE, Words
from journeyman.types import Message, Prompt, Sampling, Trace


class Sampler(Protocol):
    """Draws continuations: the engine, or rounds over a transformers model."""

    abandoned: dict[str, tuple[int, int]]

    async def sample(
        self, context: tuple[int, ...], sampling: Sampling, seed: int, *, id: str = "", read: int | None = None
    ) -> Drawn: ...


class TokenPolicy:
    """Sampling, continuing, rendering and scoring over ``chat`` and ``engine``; ``vocab`` and ``context`` are the model's."""

    needs: ClassVar[Words] = NONE
    gives: Words = frozenset({"tokens"})

    def __init__(
        self, name: str, chat: Chat, engine: Sampler, logp: Together[tuple[int, ...], tuple[float, ...]], vocab: int, context: int
    ) -> None:
        self.name, self.chat, self.engine, self.vocab, self.context = name, chat, engine, vocab, context
        self._logp = logp

    async def sample(self, prompt: Prompt, sampling: Sampling, *, id: str, seed: int, role: str) -> Trace:
        """One sample from a prompt. ``prompt_tokens`` is the whole prompt, shared with siblings or not."""
        blank = Trace(id=id, policy=self.name, role=role, prompt=prompt, sampling=sampling)
        return await self._continue(blank, Trace(id), self.chat.prompt(prompt), seed)

    async def extend(self, trace: Trace, text: str, turn: Prompt, sampling: Sampling, *, id: str, seed: int, role: str) -> Trace:
        """Append ``text``, then ``turn`` and the cue to answer, as token ids, and sample on. Nothing before is re-rendered:
        ancestors keep their tokens, masks and log-probabilities. ``start`` is the first token drawn;
        ``prompt_tokens`` counts only those. The prompt of the new trace is ``turn``; the rest is in its ancestors."""
        if not trace.tokens:
            raise ValueError(f"trace {trace.id!r} holds no tokens (a text-only endpoint made it); this policy cannot extend it")
        added = self.chat.encode(text)
        if turn:
            added += self.chat.turn(trace.tokens + added, turn)
        blank = Trace(id=id, policy=self.name, role=role, prompt=turn, sampling=sampling, parent=trace.id)
        return await self._continue(blank, trace, added, seed)

    async def _continue(self, blank: Trace, before: Trace, added: tuple[int, ...], seed: int) -> Trace:
        context = before.tokens + added
        drawn = await self.engine.sample(context, blank.sampling, seed, id=blank.id, read=len(added))
        read, count = len(added), len(drawn.tokens)
        return replace(
            blank,
            text=self.chat.decode(drawn.tokens),
            tokens=context + drawn.tokens,
            sampled=before.sampled + (False,) * read + (True,) * count,
            logp=before.logp + (0.0,) * read + drawn.logp,
            version=before.version + (-1,) * read + drawn.version,
            start=len(context),
            stop_reason=drawn.stop_reason,
            prompt_tokens=read,
            sampled_tokens=count,
        )

    def abandoned(self, id: str) -> tuple[int, int]:
        """(prompt, sampled) tokens that the failed or cancelled call ``id`` had spent; forgets them."""
        return self.engine.abandoned.pop(id, (0, 0))

    async def logp(self, tokens: Sequence[int]) -> tuple[float, ...]:
        """Log-probability (L) of each token given those before it at temperature 1; 0 for the first."""
        check_tokens(tokens, self.vocab, self.context + 1)
        return await self._logp(tuple(tokens))

    async def evaluate(self, tokens: Sequence[int], head: str) -> tuple[float, ...]:
        """This policy has no heads besides its tokens."""
        raise ValueError(f"policy {self.name!r} has no head {head!r}; use a policy that gives evaluate.{head}")

    async def embed(self, text: str) -> tuple[float, ...]:
        """This policy makes no text vectors."""
        raise ValueError(f"policy {self.name!r} makes no embeddings; use a policy that gives embed")

    def render(self, messages: Sequence[Message]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Messages -> tokens (L) and the mask (L) of a final assistant message (see ``Chat.render``)."""
        return self.chat.render(messages)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of drawn tokens, a final end token left out (see ``Chat.decode``)."""
        return self.chat.decode(tokens)
