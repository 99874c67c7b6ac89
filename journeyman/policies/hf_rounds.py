"""Batched sampling from any transformers causal model: rounds of calls over the model's own cache."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from journeyman.policies.chat import Chat
from journeyman.policies.engine import Drawn, check_sampling, check_tokens
from journeyman.policies.sampler import draw, uniforms
from journeyman.types import Sampling, Stop


class Row:
    """One call and what it has drawn."""

    def __init__(self, context: tuple[int, ...], sampling: Sampling, seed: int, limit: int, future: asyncio.Future[Drawn]) -> None:
        self.context, self.sampling, self.seed, self.limit, self.future = context, sampling, seed & (2**64 - 1), limit, future
        self.tokens: list[int] = []
        self.logp: list[float] = []
        self.version: list[int] = []

    def ending(self, chat: Chat) -> Stop | None:
        """Why the last token ended it, or None."""
        if self.tokens[-1] in chat.ends:
            return "end"
        if self.sampling.stop and chat.stopped(self.tokens, self.sampling.stop):
            return "stop"
        if len(self.tokens) < self.limit:
            return None
        return "length" if self.limit == self.sampling.max_tokens else "context"


class Rounds:
    """Calls that wait are taken ``max_rows`` at a time and sampled together until the last has ended. Rows that end or are
    cancelled leave the batch once they are half of it. Slower than the engine, and right for any architecture."""

    def __init__(self, model: PreTrainedModel, chat: Chat, version: Callable[[], int], context: int, max_rows: int = 64) -> None:
        self.model, self.chat, self.version, self.context, self.max_rows = model, chat, version, context, max_rows
        self.abandoned: dict[str, tuple[int, int]] = {}
        self.waiting: dict[Row, None] = {}
        self._task: asyncio.Task[None] | None = None
        self._placed = "position_ids" in inspect.signature(model.forward).parameters

    async def sample(
        self, context: tuple[int, ...], sampling: Sampling, seed: int, *, id: str = "", read: int | None = None
    ) -> Drawn:
        """Draw a continuation of these tokens."""
        check_sampling(sampling)
        check_tokens(context, self.model.config.get_text_config().vocab_size, self.context)
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self.waiting = {}
            self._task = loop.create_task(self._run())
        row = Row(context, sampling, seed, min(sampling.max_tokens, self.context - len(context)), loop.create_future())
        self.waiting[row] = None
        try:
            return await row.future
        except BaseException:
            if row not in self.waiting:
                self.abandoned[id] = (len(context) if read is None else read, len(row.tokens))
            raise
        finally:
            self.waiting.pop(row, None)

    async def _run(self) -> None:
        """Rounds while calls wait. One that raises fails its own calls."""
        while self.waiting:
            rows = list(self.waiting)[: self.max_rows]
            self.waiting = {row: None for row in self.waiting if row not in set(rows)}
            try:
                await self._round(rows)
            except Exception as error:
                for row in rows:
                    if not row.future.done():
                        row.future.set_exception(error)
            finally:
                for row in rows:
                    row.future.cancel()

    async def _round(self, rows: list[Row]) -> None:
        device = self.model.device
        wide = max(len(r.context) for r in rows)
        ids = torch.zeros(len(rows), wide, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, wide - len(row.context) :] = torch.tensor(row.context)
            mask[i, wide - len(row.context) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        cache = None
        while rows:
            logits, cache = self._logits(ids, mask, cache)
            token = self._draw(rows, logits)
            alive = [i for i, row in enumerate(rows) if not row.future.done()]
            if 2 * len(alive) <= len(rows):
                kept = torch.tensor(alive, dtype=torch.long, device=device)
                rows, token, mask = [rows[i] for i in alive], token[kept], mask[kept]
                if alive:
                    cache.batch_select_indices(kept)
            ids, mask = token[:, None], torch.cat((mask, mask.new_ones(len(mask), 1)), dim=1)
            await asyncio.sleep(0)

    @torch.inference_mode()
    def _logits(self, ids: torch.Tensor, mask: torch.Tensor, cache):
        self.model.eval()
        places = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]} if self._placed else {}
        out = self.model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **places)
        return out.logits[:, -1], out.past_key_values

    @torch.inference_mode()
    def _draw(self, rows: Sequence[Row], logits: torch.Tensor) -> torch.Tensor:
        """One token a row (B); rows that end are answered."""
        seeds = np.array([r.seed for r in rows], dtype=np.uint64)
        at = np.array([len(r.context) + len(r.tokens) for r in rows])
        warm, top = np.array([r.sampling.temperature for r in rows], float), np.array([r.sampling.top_p for r in rows], float)
        token, logp = draw(logits, uniforms(seeds, at), warm, top)
        version = self.version()
        for row, t, p in zip(rows, token.tolist(), logp.tolist(), strict=True):
            if row.future.done():
                continue
            row.tokens.append(t)
            row.logp.append(p)
            row.version.append(version)
            if (reason := row.ending(self.chat)) is not None:
                row.future.set_result(Drawn(tuple(row.tokens), tuple(row.logp), tuple(row.version), reason))
        return token
