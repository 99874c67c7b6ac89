"""Compiled kernels for decoding in float32 on a CPU: attention of one token a row, norms, the gate of the MLP, the draw.

``kernels.cpp`` is built once with the machine's own C++ compiler ($CXX, else c++) and kept in the user's cache folder under
the hash of source, compiler and processor. Where there is no compiler, ``load`` returns None and says why in the log, and
sampling takes the torch path, which gives the same numbers to float32 rounding. JOURNEYMAN_KERNELS=0 turns the kernels off.
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
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("kernels.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
HEAD_DIMS = (16, 32, 64, 80, 96, 128)
log = logging.getLogger(__name__)

_pointer, _int, _float = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


class Kernels:
    """The loaded library. Tensors are float32, contiguous where not said otherwise; positions and tokens int64."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._attend, self._rms, self._swiglu, self._draw = library.attend, library.rms_norm, library.swiglu, library.draw
        self._attend.argtypes = [_pointer, _int, _int, _int, _int, _pointer, _float, *[_pointer] * 5, _int, _int, _int, _pointer]
        self._rms.argtypes = [_pointer, _int, _int, _pointer, _float, _pointer]
        self._swiglu.argtypes = [_pointer, _int, _int, _pointer]
        self._draw.argtypes = [_pointer, _int, _int, *[_pointer] * 4]
        self._rms.restype = self._swiglu.restype = self._draw.restype = None

    def attend(
        self,
        qkv: Tensor,
        heads: int,
        norm: Tensor | None,
        eps: float,
        angles: tuple[Tensor, Tensor],
        positions: Tensor,
        cache: Tensor,
    ) -> Tensor:
        """qkv (B, H + 2 KV, hd) -> (B, H * hd). ``norm`` (H + KV, hd); ``angles`` tables of cos and sin; ``cache`` is one layer's
        (2, B, KV, W, hd) of any strides but the last two: its last column receives key and value, and a row attends to the
        positions + 1 columns that end there."""
        rows, every, size = qkv.shape
        kv = (every - heads) // 2
        y = qkv.new_empty(rows, heads * size)
        cos, sin = angles
        status = self._attend(
            *(qkv.data_ptr(), rows, heads, kv, size, None if norm is None else norm.data_ptr(), eps),
            *(cos.data_ptr(), sin.data_ptr(), positions.data_ptr(), cache[0].data_ptr(), cache[1].data_ptr()),
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
    name = hashlib.sha256(b"\0".join([SOURCE.read_bytes(), " ".join(FLAGS).encode(), version, flags.encode()])).hexdigest()[:20]
    path = folder / f"kernels-{name}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:  # renamed when whole: another process may do the same
            made = Path(scratch) / path.name
            subprocess.run([*command, *FLAGS, str(SOURCE), "-o", str(made)], capture_output=True, check=True, timeout=300)
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
        log.warning("sampling without compiled kernels: %s %s", error, detail.decode(errors="replace")[-300:])
        return None
