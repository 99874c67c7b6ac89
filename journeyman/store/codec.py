"""Nouns as checksummed bytes: the one format of the store's ``body`` columns.

A body is a CRC-32 (4 bytes, big endian) and then MessagePack, which keeps every 64-bit float exactly, NaN and
infinities included (JSON has no word for those). Text with a lone surrogate, which some remote endpoints send,
is not UTF-8; such a noun is kept as ASCII JSON instead, whose first byte "{" no MessagePack map begins with.
"""

from __future__ import annotations

import json
import zlib
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class StoreError(ValueError):
    """A folder that cannot be used as asked: it holds another run, is in use, or is damaged."""


def pack(noun: Any, what: str) -> bytes:
    """Bytes of a dataclass. ``what`` names it in the error raised where a field holds something that is not plain data."""
    try:
        payload = msgspec.msgpack.encode(noun)
    except UnicodeEncodeError:
        payload = json.dumps(msgspec.to_builtins(noun)).encode("ascii")
    except (TypeError, OverflowError) as error:
        raise ValueError(
            f"{what} cannot be stored: {error}; marks, streams and task answers may hold numbers, strings, lists, dicts and None "
            "(write .item() or .tolist() on arrays and tensors)"
        ) from error
    return zlib.crc32(payload).to_bytes(4, "big") + payload


def unpack(body: bytes, type: type[T], what: str) -> T:
    """The noun that ``pack`` wrote (tuples inside untyped fields come back as lists); StoreError where the bytes changed."""
    payload = body[4:]
    if zlib.crc32(payload).to_bytes(4, "big") != body[:4]:
        raise StoreError(f"{what} is damaged in the run store: its checksum does not match its {len(payload)} bytes")
    if payload[:1] == b"{":
        return msgspec.convert(json.loads(payload), type)
    return _decoder(type).decode(payload)


@lru_cache(maxsize=16)
def _decoder(type: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(type)


def printable(text: str) -> str:
    """The text with each lone surrogate replaced by "?", for columns and files that must be UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
