"""The key/value cache: one preallocated block in which all rows end at the same column.

A row of ``length`` stored positions occupies the columns [clock - length, clock). One step writes column ``clock`` of
every row with a plain slice copy, and attention reads a contiguous window as wide as the longest row: no scatter, no
page table. When the columns run out, the window moves to a fresh block.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from journeyman.policies.decoder import Architecture

_ROUND = 64


class Cache:
    """``data`` is (layers, 2, rows, KV, columns, head_dim); 2 = key, value."""

    def __init__(self, architecture: Architecture, dtype: torch.dtype, device: torch.device) -> None:
        a = architecture
        self._outer, self._inner = (a.layers, 2), (a.kv_heads, a.head_dim)
        self.clock = 0
        self.data = torch.zeros(*self._outer, 0, a.kv_heads, 0, a.head_dim, dtype=dtype, device=device)

    @property
    def rows(self) -> int:
        return self.data.shape[2]

    @property
    def columns(self) -> int:
        return self.data.shape[4]

    def fit(self, rows: int, held: int, window: int, before: int, after: int, least: int | None = None) -> None:
        """Make room for ``rows`` rows, ``before`` columns left of the clock and ``after`` from it on (or stay in a block that has
        ``least`` of these). The first ``held`` rows keep their last ``window`` columns."""
        if rows <= self.rows and before <= self.clock and self.clock + (after if least is None else least) <= self.columns:
            return
        if not held and rows <= self.rows and before + after <= self.columns:
            self.clock = before
            return
        left = -(-max(before, window) // _ROUND) * _ROUND
        size = (*self._outer, max(rows, self.rows), self._inner[0], left + -(-after // _ROUND) * _ROUND, self._inner[1])
        fresh = torch.zeros(
            size, dtype=self.data.dtype, device=self.data.device
        )  # finite: a masked column is weighed 0, and 0 * nan is nan
        if held:
            fresh[:, :, :held, :, left - window : left] = self.data[:, :, :held, :, self.clock - window : self.clock]
        self.data, self.clock = fresh, left

    def write(self, row: int, stored: Tensor) -> None:
        """Put keys and values (layers, 2, KV, P, hd) into a row."""
        self.data[:, :, row, :, self.clock - stored.shape[3] : self.clock] = stored

    def read(self, row: int, stored: int, length: int) -> Tensor:
        """The first ``length`` of the ``stored`` positions of a row: (layers, 2, KV, length, hd)."""
        first = self.clock - stored
        return self.data[:, :, row, :, first : first + length]

    def move(self, sources: Sequence[int], targets: Sequence[int], window: int) -> None:
        """Copy rows over rows, over the last ``window`` columns. Sources and targets may overlap."""
        span = slice(self.clock - window, self.clock)
        if len(sources) == 1:
            self.data[:, :, targets[0], :, span] = self.data[:, :, sources[0], :, span]
        else:
            to, of = (torch.tensor(x, device=self.data.device) for x in (targets, sources))
            self.data[:, :, to, :, span] = self.data[:, :, of, :, span]
