"""Batched sampling below an async interface.

Every call of thousands of coroutines on one asyncio loop becomes a row of one batch. Rows join whenever slots are free
and leave when they end; equal prompts are read once. The loop is a task that starts with the first call, makes one step
(one token for every row), yields, and ends when nothing is left, so that several ``asyncio.run`` in a row work.

A draw depends on (seed, position) and the row's own logits only. Logits of one row may differ in the last float32 digits
with the size of the batch it shares (matrix products round differently), which can matter only where the drawn number
falls within that distance of a token's edge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from journeyman.policies.cache import Cache
from journeyman.policies.chat import Chat
from journeyman.policies.fused import Fused
from journeyman.policies.kernels import Lent
from journeyman.policies.sampler import draw, uniforms
from journeyman.types import Sampling, Stop

if TYPE_CHECKING:
    from journeyman.policies.graphs import Steps

_PREFILL = 4096  # tokens read in one prefill: enough to fill the cores, few enough to stay in their caches
_ROOM = 256  # columns given at a time to rows that may grow


class Drawn(NamedTuple):
    """What a call drew: tokens, their log-probabilities, the weight version of each, why it ended."""

    tokens: tuple[int, ...]
    logp: tuple[float, ...]
    version: tuple[int, ...]
    stop_reason: Stop


class Call:
    """A request: waiting while ``row`` is negative, else in that row."""

    __slots__ = ("context", "drawn", "future", "limit", "row", "sampling", "seed", "weights")

    def __init__(self, context: tuple[int, ...], sampling: Sampling, seed: int, limit: int, future: asyncio.Future[Drawn]) -> None:
        self.context, self.sampling, self.seed, self.limit, self.future = context, sampling, seed, limit, future
        self.row, self.drawn = -1, 0
        self.weights: Fused | None = None  # those that read the prompt


def check_sampling(sampling: Sampling) -> None:
    """ValueError where a setting makes no sense."""
    if sampling.max_tokens < 1:
        raise ValueError(f"max_tokens is {sampling.max_tokens}, expected at least 1")
    if not 0 <= sampling.temperature < float("inf"):
        raise ValueError(f"temperature is {sampling.temperature}, expected 0 (greedy) or a positive number")
    if not 0 < sampling.top_p <= 1:
        raise ValueError(f"top_p is {sampling.top_p}, expected a number in (0, 1]")
    if isinstance(sampling.stop, str) or not all(sampling.stop):
        raise ValueError(f"stop is {sampling.stop!r}, expected a tuple of non-empty strings")


def check_tokens(tokens: Sequence[int], vocab: int, context: int) -> None:
    """ValueError where a context cannot be read or leaves no room for one token."""
    if not tokens:
        raise ValueError("the prompt is empty; give at least one token")
    if min(tokens) < 0 or max(tokens) >= vocab:
        bad = next(t for t in tokens if not 0 <= t < vocab)
        raise ValueError(f"token id {bad} is outside the model's vocabulary of {vocab}")
    if len(tokens) >= context:
        raise ValueError(
            f"the prompt has {len(tokens)} tokens, the model's context holds {context}; shorten it to at most {context - 1}"
        )


class Engine:
    """Samples from whatever ``weights()`` returns at each step, at most ``max_rows`` rows at a time and about ``max_bytes``
    of keys and values (a single call that needs more is run alone). ``steps`` computes the steps in place of ``Fused.step``; None:
    on CUDA ``Steps()``."""

    def __init__(
        self, weights: Callable[[], Fused], chat: Chat, *, max_rows: int = 256, max_bytes: int = 2 << 30, steps: Steps | None = None
    ) -> None:
        self._weights, self._chat, self._steps = weights, chat, steps
        self.max_rows, self.max_bytes = max_rows, max_bytes
        self.abandoned: dict[str, tuple[int, int]] = {}
        self.waiting: dict[Call, None] = {}
        self.rows: list[Call] = []
        self._task: asyncio.Task[None] | None = None
        self._cache: Cache | None = None
        self._ends: np.ndarray | None = None
        self._since_sort = 0
        self.length = np.zeros(max_rows, dtype=np.int64)  # tokens of the row, prompt included; all but the last are stored
        self.drawn = np.zeros(max_rows, dtype=np.int64)
        self.limit = np.zeros(max_rows, dtype=np.int64)
        self.last = np.zeros(max_rows, dtype=np.int64)
        self.seed = np.zeros(max_rows, dtype=np.uint64)
        self.temperature = np.ones(max_rows)
        self.top_p = np.ones(max_rows)
        self.prompt = np.zeros(max_rows, dtype=np.int64)  # rows with the same number hold the same in their first columns
        self.shared = np.zeros(max_rows, dtype=np.int64)  # so many
        self._prompts = 0
        self.stop = np.zeros(max_rows, dtype=np.int64)  # 0: no stop strings, else 1 + index in _stops
        self._stops: list[tuple[str, ...]] = []
        self.tokens = np.zeros((max_rows, 0), dtype=np.int32)
        self.logp = np.zeros((max_rows, 0), dtype=np.float32)
        self.version = np.zeros((max_rows, 0), dtype=np.int32)

    # ------------------------------------------------------------------------------------ the interface

    async def sample(
        self, context: tuple[int, ...], sampling: Sampling, seed: int, *, id: str = "", read: int | None = None
    ) -> Drawn:
        """Draw a continuation of these tokens. Cancelling the caller frees the row at once; what it had spent (``read``, or the
        whole context, and what it drew) then stands in ``abandoned`` under ``id``."""
        check_sampling(sampling)
        a = self._weights().architecture
        check_tokens(context, a.vocab_size, a.context)
        loop = asyncio.get_running_loop()
        limit = min(sampling.max_tokens, a.context - len(context))
        call = Call(context, sampling, seed & (2**64 - 1), limit, loop.create_future())
        self._wake(loop)
        self.waiting[call] = None
        try:
            return await call.future
        except BaseException:
            self.waiting.pop(call, None)
            if call.row >= 0:
                self._release([call.row])
            if call.weights is not None:
                self.abandoned[id] = (len(context) if read is None else read, call.drawn)
            raise

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        task = self._task
        if task is not None and not task.done():
            if task.get_loop() is loop:
                return
            if not task.get_loop().is_closed():
                raise RuntimeError("this policy is sampling on another event loop; use one loop at a time")
        self._clear()
        self._task = loop.create_task(self._run())

    def _clear(self) -> None:
        for call in self.rows:
            call.drawn, call.row = int(self.drawn[call.row]), -1
        self.rows, self.waiting = [], {}

    async def _run(self) -> None:
        """Step while there is work. A step that raises fails every call in flight with that error, and nothing else."""
        try:
            while self.waiting or self.rows:
                self.step()
                await asyncio.sleep(0)
        except Exception as error:
            for call in [*self.rows, *self.waiting]:
                if not call.future.done():
                    call.future.set_exception(error)
        finally:
            calls = [*self.rows, *self.waiting]
            self._clear()
            for call in calls:
                call.future.cancel()  # nothing happens to one that is done

    @torch.inference_mode()
    def step(self) -> None:
        """Admit what fits, then draw one token for every row."""
        weights = self._weights()
        if self.waiting:
            self._admit(weights)
        if self.rows:
            self._decode(weights)

    # ------------------------------------------------------------------------------------ admission

    def _admit(self, weights: Fused) -> None:
        free = self.max_rows - len(self.rows)
        if free < min(len(self.waiting), max(1, self.max_rows // 16)):
            return  # a few rows are read together, not each alone
        calls = self._choose(weights, free)
        if not calls:
            return
        held, longest = len(self.rows), max(len(c.context) for c in calls)
        left = max(c.limit - (self.drawn[c.row] if c.row >= 0 else 0) for c in [*self.rows, *calls])
        cache = self._cache = self._cache or self._first_cache(weights)
        wanted = min(self.max_rows, max(cache.rows, 1 << (held + len(calls) - 1).bit_length()))
        after = int(min(left, _ROOM))
        if self._steps is not None:
            wanted = max(wanted, self._steps.least)
        # A block is used to its last column: were room made for each call to end in it, every admission would copy all rows.
        cache.fit(wanted, held, self._window(), longest - 1, after, 1 if held else after)
        self._widen(max(c.limit for c in calls))
        # A row with the same prompt, read by the same weights, lends what it stored.
        lenders = {c.context: c for c in self.rows if c.weights is weights}
        fresh: dict[tuple[int, ...], list[Call]] = {}
        for call in calls:
            self._enter(call, weights)
            if (lender := lenders.get(call.context)) is not None:
                self.prompt[call.row] = self.prompt[lender.row]
                cache.write(call.row, cache.read(lender.row, int(self.length[lender.row]) - 1, len(call.context) - 1))
            elif len(call.context) > 1:
                fresh.setdefault(call.context, []).append(call)
        self._prefill(weights, cache, fresh)

    def _first_cache(self, weights: Fused) -> Cache:
        if self._steps is None and weights.embed.device.type == "cuda":
            from journeyman.policies.graphs import Steps  # not at the top: it imports the compiler, which nobody else needs

            self._steps = Steps()
        return Cache(weights.architecture, weights.embed.dtype, weights.embed.device)

    def _choose(self, weights: Fused, free: int) -> list[Call]:
        """The oldest calls that fit in the free rows and the memory."""
        a = weights.architecture
        unit = 2 * a.layers * a.kv_heads * a.head_dim * weights.embed.element_size()
        widest = max((len(c.context) + c.limit for c in self.rows), default=0)
        calls: list[Call] = []
        for call in self.waiting:
            widest = max(widest, len(call.context) + call.limit)
            rows = len(self.rows) + len(calls) + 1
            if len(calls) == free or (rows > 1 and rows * widest * unit > self.max_bytes):
                break
            calls.append(call)
        return calls

    def _enter(self, call: Call, weights: Fused) -> None:
        del self.waiting[call]
        row = call.row = len(self.rows)
        self.rows.append(call)
        call.weights = weights
        self.length[row], self.drawn[row], self.limit[row] = len(call.context), 0, call.limit
        self.prompt[row], self.shared[row] = 0, len(call.context) - 1
        self.last[row], self.seed[row] = call.context[-1], call.seed
        self.temperature[row], self.top_p[row] = call.sampling.temperature, call.sampling.top_p
        stop = tuple(call.sampling.stop)
        if stop and stop not in self._stops:
            self._stops.append(stop)
        self.stop[row] = 1 + self._stops.index(stop) if stop else 0

    def _prefill(self, weights: Fused, cache: Cache, fresh: dict[tuple[int, ...], list[Call]]) -> None:
        """Read each distinct prompt once, all but its last token, those of like length together."""
        todo = sorted(fresh, key=len)
        while todo:
            longest = len(todo[-1]) - 1
            take = 1
            while take < len(todo) and (take + 1) * longest <= _PREFILL and len(todo[-take - 1]) * 1.25 + 8 >= longest:
                take += 1
            todo, batch = todo[:-take], todo[-take:]
            padded = np.zeros((take, longest), dtype=np.int64)
            for i, context in enumerate(batch):
                padded[i, : len(context) - 1] = context[:-1]
            stored = weights.prefill(torch.from_numpy(padded).to(weights.embed.device))
            for i, context in enumerate(batch):
                self._prompts += 1
                for call in fresh[context]:
                    self.prompt[call.row] = self._prompts
                    cache.write(call.row, stored[:, :, i, :, : len(context) - 1])

    def _widen(self, limit: int) -> None:
        """Room for ``limit`` drawn tokens in every row."""
        if (more := limit - self.tokens.shape[1]) > 0:
            self.tokens, self.logp, self.version = (np.pad(x, ((0, 0), (0, more))) for x in (self.tokens, self.logp, self.version))

    # ------------------------------------------------------------------------------------ one token a row

    def _window(self) -> int:
        """Columns that hold anything."""
        return int(self.length[: len(self.rows)].max()) - 1 if self.rows else 0

    def _decode(self, weights: Fused) -> None:
        n, cache = len(self.rows), self._cache
        assert cache is not None
        length = self.length[:n]
        if cache.clock + 1 > cache.columns:
            window, left = int(length.max()) - 1, int((self.limit[:n] - self.drawn[:n]).max())
            cache.fit(n, n, window, window, min(left, _ROOM))
        if self._steps is not None:
            logits = self._steps(weights, cache, self.last[:n], length - 1)
        else:
            logits = self._plain(weights, cache, n)
        cache.clock += 1
        drawn, logp = draw(logits, uniforms(self.seed[:n], length), self.temperature[:n], self.top_p[:n], weights.kernels)
        token = drawn.cpu().numpy()
        rows, at = np.arange(n), self.drawn[:n]
        self.tokens[rows, at], self.logp[rows, at], self.version[rows, at] = token, logp.cpu().numpy(), weights.version
        self.last[:n] = token
        self.length[:n] += 1
        self.drawn[:n] += 1
        self._leave(token, weights.architecture.vocab_size)

    def _plain(self, weights: Fused, cache: Cache, n: int) -> Tensor:
        """The logits (n, V) of one more token by ``Fused.step``."""
        device = weights.embed.device
        segments = self._segments() if weights.kernels is None else []
        length = self.length[:n]
        wide = int(length.max())
        mask = None
        if weights.kernels is None and int(length.min()) < wide:
            hidden = np.arange(wide)[None] < (wide - length)[:, None]
            mask = torch.from_numpy(np.where(hidden, np.float32(-np.inf), np.float32(0))).to(device, weights.embed.dtype)
        window = cache.data[:, :, :n, :, cache.clock - wide + 1 : cache.clock + 1]
        tokens, positions = (torch.from_numpy(x).to(device) for x in (self.last[:n], length - 1))
        lent = None if weights.kernels is None else self._lent()
        return weights.step(tokens, positions, wide, window, segments, mask, lent)

    def _lent(self) -> Lent:
        """Siblings read their prompt from the first of them: every row has a copy, but one copy stays in the caches."""
        n = len(self.rows)
        _, first, group = np.unique(self.prompt[:n], return_index=True, return_inverse=True)
        return Lent(torch.from_numpy(first[group]), torch.from_numpy(self.shared[:n]))

    def _segments(self) -> list[tuple[int, int, int]]:
        """Rows in up to four runs, each attending only as far back as its own longest row. Rows are sorted by length when that
        saves a third of the reading, at most every 32 steps: sorting copies the window once."""
        n = len(self.rows)
        self._since_sort += 1
        length = self.length[:n]
        wide, size = int(length.max()), max(16, -(-n // 4))
        if n <= size or float(length.mean()) > 0.8 * wide:
            return [(0, n, 0)]
        starts = range(0, n, size)

        def cost(x: np.ndarray) -> int:
            return sum(int(x[s : s + size].max()) * len(x[s : s + size]) for s in starts)

        if self._since_sort >= 32:
            order = np.argsort(-length, kind="stable")
            if cost(length[order]) * 1.5 < cost(length):
                self._reorder(order.tolist(), list(range(n)))
                self._since_sort = 0
        return [(s, min(s + size, n), wide - int(self.length[s : min(s + size, n)].max())) for s in starts]

    def _leave(self, token: np.ndarray, vocab: int) -> None:
        """Answer the calls whose rows have ended and free the rows."""
        n = len(self.rows)
        if self._ends is None:
            self._ends = np.zeros(vocab, dtype=bool)
            self._ends[[i for i in self._chat.ends if i < vocab]] = True
        ended = self._ends[token]
        full = self.drawn[:n] >= self.limit[:n]
        stopped = np.zeros(n, dtype=bool)
        for key in np.unique(self.stop[:n]):
            if key == 0:
                continue
            stop = self._stops[key - 1]
            for row in np.flatnonzero((self.stop[:n] == key) & self._chat.may_stop(stop, vocab)[token]):
                stopped[row] = self._chat.stopped(self.tokens[row, : self.drawn[row]].tolist(), stop)
        gone = np.flatnonzero(ended | full | stopped).tolist()
        for row in gone:
            call, k = self.rows[row], int(self.drawn[row])
            whole = "length" if call.limit == call.sampling.max_tokens else "context"
            reason: Stop = "end" if ended[row] else "stop" if stopped[row] else whole
            tokens, logp, version = (tuple(x[row, :k].tolist()) for x in (self.tokens, self.logp, self.version))
            if not call.future.done():
                call.future.set_result(Drawn(tokens, logp, version, reason))
        if gone:
            self._release(gone)

    def _release(self, gone: list[int]) -> None:
        """Free rows: the last rows move into the holes."""
        dead = set(gone)
        keep = len(self.rows) - len(dead)
        sources = [r for r in range(keep, len(self.rows)) if r not in dead]
        targets = [r for r in gone if r < keep]
        for row in gone:
            self.rows[row].drawn, self.rows[row].row = int(self.drawn[row]), -1
        if sources:
            self._reorder(sources, targets)
        del self.rows[keep:]

    @torch.inference_mode()
    def _reorder(self, sources: list[int], targets: list[int]) -> None:
        """Put the rows ``sources`` in the places ``targets``."""
        assert self._cache is not None
        self._cache.move(sources, targets, int(self.length[sources].max()) - 1)
        for column in (
            self.length,
            self.drawn,
            self.limit,
            self.last,
            self.seed,
            self.temperature,
            self.top_p,
            self.stop,
            self.prompt,
            self.shared,
        ):
            column[targets] = column[sources]
        for table in (self.tokens, self.logp, self.version):
            table[targets] = table[sources]
        moved = [self.rows[s] for s in sources]
        for target, call in zip(targets, moved, strict=True):
            self.rows[target] = call
            call.row = target
