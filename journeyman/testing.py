"""Fakes that anyone may use: a scripted policy over bytes, and toy tasks. No weights, no torch."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from journeyman.protocols import View, words
from journeyman.types import Answer, Message, Prompt, Question, Sampling, Task, Trace, user

END = 0  # the end-of-turn token of the byte tokenizer


def encode(text: str) -> tuple[int, ...]:
    """UTF-8 bytes as token ids."""
    return tuple(text.encode())


def decode(tokens: Sequence[int]) -> str:
    """The text of byte tokens, end-of-turn tokens left out."""
    return bytes(t for t in tokens if t != END).decode(errors="replace")


def transcript(messages: Sequence[Message]) -> str:
    """The byte tokenizer's chat format, one line a message: ``role: content`` and the end-of-turn byte."""
    return "".join(f"{m['role']}: {m['content']}\0" for m in messages)


Reply = Callable[[str, random.Random], str]


class ScriptedPolicy:
    """A policy that answers by a function ``reply(conversation so far, rng) -> text``, at a log-probability of -1 a token.

    ``delay`` seconds pass before each reply (a callable is asked each time), so that tests can shuffle the order in which
    calls finish; ``value`` is its value head, of the text so far. ``calls`` lists (id, conversation) as they were dispatched.
    """

    gives = words("tokens", "evaluate.value", "embed")

    def __init__(
        self,
        reply: Reply,
        name: str = "policy",
        parameters: int = 10,
        delay: float | Callable[[], float] = 0.0,
        value: Callable[[str], float] = len,
    ):
        self.reply, self.name, self.parameters, self.delay, self.value = reply, name, parameters, delay, value
        self.version = 0
        self.calls: list[tuple[str, str]] = []

    async def sample(self, prompt: Prompt, sampling: Sampling, *, id: str, seed: int, role: str) -> Trace:
        before = encode(transcript(prompt) + "assistant: ")
        return await self._draw(Trace(id, self.name, role, prompt, sampling=sampling), before, (False,) * len(before), 0, seed)

    async def extend(self, trace: Trace, text: str, turn: Prompt, sampling: Sampling, *, id: str, seed: int, role: str) -> Trace:
        given = encode(text)
        if turn:
            closing = () if trace.tokens[-1:] == (END,) and not text else (END,)
            given += closing + encode(transcript(turn) + "assistant: ")
        tokens, sampled = trace.tokens + given, trace.sampled + (False,) * len(given)
        blank = Trace(id, self.name, role, turn, sampling=sampling, parent=trace.id)
        return await self._draw(blank, tokens, sampled, len(trace.tokens), seed, trace)

    async def _draw(
        self, blank: Trace, before: tuple[int, ...], sampled: tuple[bool, ...], start: int, seed: int, parent: Trace | None = None
    ) -> Trace:
        self.calls.append((blank.id, decode(before)))
        await asyncio.sleep(self.delay() if callable(self.delay) else self.delay)
        said = self.reply(decode(before), random.Random(seed))
        stops = [said.index(stop) + len(stop) for stop in blank.sampling.stop if stop in said]
        drawn = encode(said[: min(stops)]) if stops else (*encode(said), END)
        kept = drawn[: blank.sampling.max_tokens]
        n, given = len(kept), len(before) - start
        old_logp = parent.logp if parent else ()
        old_version = parent.version if parent else ()
        return Trace(
            blank.id,
            self.name,
            blank.role,
            blank.prompt,
            decode(kept),
            before + kept,
            sampled + (True,) * n,
            old_logp + (0.0,) * given + (-1.0,) * n,
            old_version + (-1,) * given + (self.version,) * n,
            len(before),
            blank.sampling,
            "length" if len(kept) < len(drawn) else "stop" if stops else "end",
            blank.parent,
            prompt_tokens=given,
            sampled_tokens=n,
        )

    def abandoned(self, id: str) -> tuple[int, int]:
        return 0, 0

    async def logp(self, tokens: Sequence[int]) -> tuple[float, ...]:
        return (0.0,) + (-1.0,) * (len(tokens) - 1)

    async def evaluate(self, tokens: Sequence[int], head: str) -> tuple[float, ...]:
        return tuple(self.value(decode(tokens[: i + 1])) for i in range(len(tokens)))

    async def embed(self, text: str) -> tuple[float, ...]:
        return tuple(float(text.count(c)) for c in "abcdefghijklmnopqrstuvwxyz")

    def decode(self, tokens: Sequence[int]) -> str:
        return decode(tokens)

    def render(self, messages: Sequence[Message]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        if messages[-1]["role"] != "assistant":
            tokens = encode(transcript(messages) + "assistant: ")
            return tokens, (False,) * len(tokens)
        before = encode(transcript(messages[:-1]) + "assistant: ")
        own = (*encode(messages[-1]["content"]), END)
        return before + own, (False,) * len(before) + (True,) * len(own)

    def snapshot(self) -> ScriptedPolicy:
        return self


class ListLearner:
    """Keeps the lessons it is given and counts the policy's version up: a learner for tests of everything around it."""

    def __init__(self, needs: Sequence[str] = ("lessons",)) -> None:
        self.needs, self.gives = words(*needs), words()
        self.lessons: list[Any] = []
        self.updates = 0

    def update(self, policy: ScriptedPolicy, lessons: Sequence[Any]) -> dict[str, float]:
        self.lessons.append(list(lessons))
        self.updates += 1
        policy.version += 1
        return {"lessons": float(len(lessons))}

    def prepare(self, policy: ScriptedPolicy) -> None:
        return None

    def tensors(self) -> dict[str, Any]:
        return {}

    def load_tensors(self, tensors: Mapping[str, Any]) -> None:
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.updates = state["updates"]


def sums(n: int, largest: int = 9) -> list[Task]:
    """n toy tasks "a+b=" whose answer is a string of digits."""
    rng = random.Random(n)
    pairs = [(rng.randint(0, largest), rng.randint(0, largest)) for _ in range(n)]
    return [Task(f"sum/{i}", user(f"{a}+{b}="), str(a + b), source="sum", level=int(a + b > 9)) for i, (a, b) in enumerate(pairs)]


def adds(wrong: float = 0.0) -> Reply:
    """A reply that adds the last ``a+b=`` of the conversation, off by one with probability ``wrong``."""

    def reply(conversation: str, rng: random.Random) -> str:
        a, b = conversation.rsplit("=", 1)[0].rsplit(" ", 1)[-1].split("+")
        return str(int(a) + int(b) + (rng.random() < wrong))

    return reply


@dataclass(frozen=True)
class failing:
    """A strategy that raises."""

    message: str = "broken"
    needs = words()
    gives = words("answer")

    async def __call__(self, question: Question, policy: View) -> Answer:
        raise RuntimeError(self.message)
