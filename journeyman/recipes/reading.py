"""What recipes share that read a policy's own uncertainty while it samples."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

import torch

from journeyman.batch import collate
from journeyman.learners.exploring import means
from journeyman.learners.packing import micro_batches
from journeyman.policies.together import Together
from journeyman.protocols import Policy, Trainable, words
from journeyman.types import Lesson, Message, Prompt, Sampling, Trace


class Reading:
    """A trainable policy as a strategy may hold it in a field, besides the view it samples from: ``evaluate(tokens, "entropy")`` is
    the entropy (L, nats) of the distribution at temperature 1 from which each token is drawn, 0 for the first; ``embed(text)`` the
    mean last hidden state (D) of the text's tokens, as an answer to an empty question. The runner charges both as any call: for
    what they read. All else is the policy's own.

    It reads the weights of now. In the synchronous loop they are those that sample, for nothing learns while a step is collected.
    """

    gives = words("tokens", "evaluate.entropy", "embed")

    def __init__(self, policy: Trainable) -> None:
        self.policy, self.name = policy, policy.name
        self._entropies, self._vectors = Together(self._read), Together(self._mean)

    @property
    def parameters(self) -> int:
        return self.policy.parameters

    @property
    def version(self) -> int:
        return self.policy.version

    def sample(self, prompt: Prompt, sampling: Sampling, *, id: str, seed: int, role: str) -> Awaitable[Trace]:
        return self.policy.sample(prompt, sampling, id=id, seed=seed, role=role)

    def extend(
        self, trace: Trace, text: str, turn: Prompt, sampling: Sampling, *, id: str, seed: int, role: str
    ) -> Awaitable[Trace]:
        return self.policy.extend(trace, text, turn, sampling, id=id, seed=seed, role=role)

    def abandoned(self, id: str) -> tuple[int, int]:
        return self.policy.abandoned(id)

    def logp(self, tokens: Sequence[int]) -> Awaitable[tuple[float, ...]]:
        return self.policy.logp(tokens)

    async def evaluate(self, tokens: Sequence[int], head: str) -> tuple[float, ...]:
        return await (self._entropies(tuple(tokens)) if head == "entropy" else self.policy.evaluate(tokens, head))

    def embed(self, text: str) -> Awaitable[tuple[float, ...]]:
        return self._vectors(text)

    def render(self, messages: Sequence[Message]) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        return self.policy.render(messages)

    def decode(self, tokens: Sequence[int]) -> str:
        return self.policy.decode(tokens)

    def snapshot(self) -> Policy:
        return self.policy.snapshot()

    @torch.no_grad()
    def _read(self, sequences: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
        """Entropies of sequences that were asked for in the same turn of the loop."""
        device = self._device()
        lessons = [Lesson(x, (False,) + (True,) * (len(x) - 1), (0.0,) * len(x)) for x in sequences]
        found: list[tuple[float, ...]] = [()] * len(lessons)
        for rows in micro_batches(lessons, 16384):
            batch = collate([lessons[i] for i in rows], {}, device)
            out = self.policy.forward(batch, words("forward.entropy"))["entropy"]
            for i, row in zip(rows, out.tolist(), strict=True):
                found[i] = tuple(row[: len(sequences[i])])
        return found

    def _mean(self, texts: Sequence[str]) -> list[tuple[float, ...]]:
        """Vectors of texts that were asked for in the same turn of the loop."""
        said = [self.render([{"role": "user", "content": ""}, {"role": "assistant", "content": text}]) for text in texts]
        lessons = [Lesson(tokens, train, (0.0,) * len(tokens)) for tokens, train in said]
        return [tuple(h.tolist()) for h in means(self.policy, lessons, 16384, self._device())]

    def _device(self) -> torch.device:
        return next(w for _, w in self.policy.trained()).device
