"""Compiled kernels for float32 on a CPU: attention of one token a row and the draw (sampling), norms, rotary heads, the gate of
the MLP and log-probabilities, with their gradients (learning; ``compiled.py`` makes them differentiable).

``sampling.cpp`` and ``learning.cpp`` are built once with the machine's own C++ compiler ($CXX, else c++) and kept in the user's
cache folder under the hash of sources, compiler and processor. Where there is no compiler, ``load`` returns None and says why
in the log, and everything takes the torch path, which gives the same numbers to float32 rounding. JOURNEYMAN_KERNELS=0 turns
the kernels off.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

HEADER, *SOURCES = (Path(__file__).with_name(name) for name in ("kernels.h", "sampling.cpp", "learning.cpp"))
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
HEAD_DIMS = (16, 32, 64, 80, 96, 128)
log = logging.getLogger(__name__)

_pointer, _int, _float = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


class Places(NamedTuple):
    """Where N tokens stand in a padded batch of B = ``rows`` times T = ``time``. A token stands in several places where rows begin
    alike: token n at ``slots[offsets[n]:offsets[n + 1]]``, each row * T + column, ``first[n]`` being the first of them.
    ``positions`` (N) are columns; ``full`` says that no place is left empty."""

    rows: int
    time: int
    positions: Tensor
    offsets: Tensor
    slots: Tensor
    first: Tensor
    full: bool

    @staticmethod
    def dense(rows: int, time: int) -> Places:
        """A token at every place."""
        every = torch.arange(rows * time)
        return Places(rows, time, every % time, torch.arange(rows * time + 1), every, every, True)


class Lent(NamedTuple):
    """For each row (B) the row from which its first columns are read, since both hold the same there, and how many (0: none)."""

    rows: Tensor
    columns: Tensor


Norms = tuple[Tensor, Tensor] | None  # weights (hd) of queries and keys
Angles = tuple[Tensor, Tensor]  # tables (at least T, hd) of cos and sin


class Kernels:
    """The loaded library. Tensors are float32, contiguous where not said otherwise; positions and tokens int64."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._attend, self._rms, self._swiglu, self._draw = library.attend, library.rms_norm, library.swiglu, library.draw
        self._attend.argtypes = [_pointer, _int, _int, _int, _int, _pointer, _float, *[_pointer] * 7, _int, _int, _int, _pointer]
        self._rms.argtypes = [_pointer, _int, _int, _pointer, _float, _pointer]
        self._swiglu.argtypes = [_pointer, _int, _int, _pointer]
        self._draw.argtypes = [_pointer, _int, _int, *[_pointer] * 4]
        self._heads, self._heads_back = library.heads, library.heads_backward
        self._rms_back, self._swiglu_back = library.rms_norm_backward, library.swiglu_backward
        self._logp, self._logp_back = library.log_prob, library.log_prob_backward
        of_heads = [_pointer, _int, *[_pointer] * 3, *[_int] * 4, _pointer, _pointer, _float, _pointer, _pointer]
        self._heads.argtypes = [*of_heads, *[_pointer] * 3]
        self._heads_back.argtypes = [*of_heads, *[_pointer] * 7]
        self._rms_back.argtypes = [_pointer, _pointer, _int, _int, _pointer, _float, _pointer, _pointer]
        self._swiglu_back.argtypes = [_pointer, _pointer, _int, _int, _pointer]
        self._logp.argtypes = [_pointer, _int, _int, *[_pointer] * 5]
        self._logp_back.argtypes = [_pointer, _int, _int, *[_pointer] * 7]
        self._quantise, self._rescale = library.quantise, library.rescale
        self._quantise.argtypes = [_pointer, _int, _int, _pointer, _pointer]
        self._rescale.argtypes = [_pointer, _int, _int, _pointer, _pointer, _int, _pointer]
        for function in vars(self).values():
            function.restype = None
        self._attend.restype = ctypes.c_int

    def attend(
        self,
        qkv: Tensor,
        heads: int,
        norm: Tensor | None,
        eps: float,
        angles: tuple[Tensor, Tensor],
        positions: Tensor,
        lent: Lent,
        cache: Tensor,
    ) -> Tensor:
        """qkv (B, H + 2 KV, hd) -> (B, H * hd). ``norm`` (H + KV, hd); ``angles`` tables of cos and sin; ``cache`` is one layer's
        (2, B, KV, W, hd) of any strides but the last two: its last column receives key and value, and a row attends to the
        positions + 1 columns that end there, the first ``lent.columns`` of them read from row ``lent.rows``."""
        rows, every, size = qkv.shape
        kv = (every - heads) // 2
        y = qkv.new_empty(rows, heads * size)
        cos, sin = angles
        status = self._attend(
            *(qkv.data_ptr(), rows, heads, kv, size, None if norm is None else norm.data_ptr(), eps),
            *(cos.data_ptr(), sin.data_ptr(), positions.data_ptr(), lent.rows.data_ptr(), lent.columns.data_ptr()),
            *(cache[0].data_ptr(), cache[1].data_ptr()),
            *(cache.stride(1), cache.stride(2), cache.shape[3] - 1, y.data_ptr()),
        )
        assert status == 0, f"head_dim {size} is none of {HEAD_DIMS}"
        return y

    def rms_norm(self, x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
        """x (B, D) / rms(x), times ``weight`` where there is one."""
        y = torch.empty_like(x)
        self._rms(x.data_ptr(), *x.shape, None if weight is None else weight.data_ptr(), eps, y.data_ptr())
        return y

    def swiglu(self, gate_up: Tensor) -> Tensor:
        """silu(gate) * up (B, I) of gate_up (B, 2 I)."""
        rows, width = gate_up.shape
        y = gate_up.new_empty(rows, width // 2)
        self._swiglu(gate_up.data_ptr(), rows, width // 2, y.data_ptr())
        return y

    def draw(self, logits: Tensor, u: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
        """Token (B) and log-probability (B) as ``sampler.draw`` with top_p = 1; overwrites ``logits`` (B, V)."""
        token, logp = torch.empty(len(logits), dtype=torch.int64), torch.empty(len(logits))
        self._draw(
            *(logits.data_ptr(), *logits.shape, u.data_ptr(), temperature.data_ptr(), token.data_ptr(), logp.data_ptr()),
        )
        return token, logp

    def quantise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, D) as int8 times a scale a row (N)."""
        y, scale = torch.empty(x.shape, dtype=torch.int8), torch.empty(len(x))
        self._quantise(x.data_ptr(), *x.shape, y.data_ptr(), scale.data_ptr())
        return y, scale

    def rescale(self, x: Tensor, row: Tensor, column: Tensor, to: Tensor | None = None) -> Tensor:
        """x (N, D, int32) * row (N) * column (D), added to ``to`` where it is given."""
        y = torch.empty(x.shape) if to is None else to
        self._rescale(x.data_ptr(), *x.shape, row.data_ptr(), column.data_ptr(), to is not None, y.data_ptr())
        return y

    # ------------------------------------------------------------------------------------ learning

    def rms_norm_backward(self, x: Tensor, dy: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """Gradients of x (N, D) and of the weight (D)."""
        dx, dw = torch.empty_like(x), torch.zeros_like(weight)
        self._rms_back(x.data_ptr(), dy.data_ptr(), *x.shape, weight.data_ptr(), eps, dx.data_ptr(), dw.data_ptr())
        return dx, dw

    def heads(
        self,
        qkv: Tensor,
        places: Places,
        heads: int,
        norms: tuple[Tensor, Tensor] | None,
        eps: float,
        angles: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """qkv (N, H + 2 KV, hd) of N tokens -> q (B, H, T, hd), k and v (B, KV, T, hd) in their places, zero where no token is."""
        kv = (qkv.shape[1] - heads) // 2
        new = qkv.new_empty if places.full else qkv.new_zeros
        q, k, v = (new(places.rows, n, places.time, qkv.shape[2]) for n in (heads, kv, kv))
        self._heads(*self._of_heads(qkv, places, heads, norms, eps, angles), *(x.data_ptr() for x in (q, k, v)))
        return q, k, v

    def heads_backward(
        self,
        qkv: Tensor,
        places: Places,
        heads: int,
        norms: Norms,
        eps: float,
        angles: Angles,
        gradients: Sequence[Tensor],
    ) -> tuple[Tensor, Norms]:
        """Gradients of qkv and of the norms' weights, from those of q, k and v (of any strides but the last)."""
        gradients = [g if g.stride(3) == 1 else g.contiguous() for g in gradients]
        strides = torch.tensor([g.stride(i) for g in gradients for i in (0, 1, 2)])
        dqkv = torch.empty_like(qkv)
        dnorms = None if norms is None else (torch.zeros_like(norms[0]), torch.zeros_like(norms[1]))
        outputs = (x.data_ptr() for x in (*gradients, strides, dqkv))
        self._heads_back(*self._of_heads(qkv, places, heads, norms, eps, angles), *outputs, *_pointers(dnorms))
        return dqkv, dnorms

    def _of_heads(self, qkv: Tensor, at: Places, heads: int, norms: Norms, eps: float, angles: Angles) -> tuple[object, ...]:
        every, size = qkv.shape[1:]
        place = (at.offsets.data_ptr(), at.slots.data_ptr(), at.positions.data_ptr(), at.time)
        return (
            *(qkv.data_ptr(), len(qkv), *place, heads, (every - heads) // 2, size),
            *(*_pointers(norms), eps, *(x.data_ptr() for x in angles)),
        )

    def swiglu_backward(self, gate_up: Tensor, dy: Tensor) -> Tensor:
        """The gradient of gate_up (N, 2 I) from that of its output (N, I)."""
        dx = torch.empty_like(gate_up)
        self._swiglu_back(gate_up.data_ptr(), dy.data_ptr(), *dy.shape, dx.data_ptr())
        return dx

    def log_prob(self, logits: Tensor, tokens: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability of each token (N), entropy (N) and log-normaliser (N) of softmax(logits (N, V) / temperature)."""
        logp, entropy, normaliser = (logits.new_empty(len(logits)) for _ in range(3))
        outputs = (x.data_ptr() for x in (logp, entropy, normaliser))
        self._logp(logits.data_ptr(), *logits.shape, tokens.data_ptr(), temperature.data_ptr(), *outputs)
        return logp, entropy, normaliser

    def log_prob_backward(self, logits: Tensor, inputs: Sequence[Tensor], dlogp: Tensor, dentropy: Tensor | None) -> Tensor:
        """The gradient of logits. ``inputs``: tokens, temperature, entropy and log-normaliser of ``log_prob``."""
        dx = torch.empty_like(logits)
        given = [x.data_ptr() for x in inputs]
        spread = None if dentropy is None else dentropy.data_ptr()
        self._logp_back(logits.data_ptr(), *logits.shape, *given, dlogp.data_ptr(), spread, dx.data_ptr())
        return dx


def _pointers(pair: Norms) -> tuple[int | None, int | None]:
    return (None, None) if pair is None else (pair[0].data_ptr(), pair[1].data_ptr())


def compiler() -> list[str] | None:
    """The command of the C++ compiler, or None where there is none."""
    found = shutil.which(os.environ.get("CXX", "c++"))
    return None if found is None else [found]


def build(folder: Path) -> Path:
    """Compile into ``folder`` (nothing is done where it stands there already). Raises OSError or subprocess.CalledProcessError."""
    command = compiler()
    if command is None:
        raise FileNotFoundError("no C++ compiler (install g++ or clang++, or name one in $CXX)")
    version = subprocess.run([*command, "--version"], capture_output=True, check=True).stdout
    cpu = Path("/proc/cpuinfo").read_text().split("\n\n")[0] if Path("/proc/cpuinfo").exists() else platform.processor()
    flags = next((line for line in cpu.split("\n") if line.startswith("flags")), cpu)
    what = [*(x.read_bytes() for x in (HEADER, *SOURCES)), " ".join(FLAGS).encode(), version, flags.encode()]
    name = hashlib.sha256(b"\0".join(what)).hexdigest()[:20]
    path = folder / f"kernels-{name}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:  # renamed when whole: another process may do the same
            made = Path(scratch) / path.name
            subprocess.run([*command, *FLAGS, *map(str, SOURCES), "-o", str(made)], capture_output=True, check=True, timeout=300)
            made.replace(path)
    return path


@functools.cache
def load() -> Kernels | None:
    """The kernels, or None (with the reason in the log) where they are turned off or cannot be built."""
    if os.environ.get("JOURNEYMAN_KERNELS") == "0":
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "journeyman"
    try:
        return Kernels(build(cache))
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", b"") or b""
        log.warning("going on without compiled kernels: %s %s", error, detail.decode(errors="replace")[-300:])
        return None
