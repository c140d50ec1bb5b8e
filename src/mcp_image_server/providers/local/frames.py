"""How server and worker talk over their pipes: frames of JSON and bytes, each preceded by its length. Nothing in them is ever executed."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_HEAD = struct.Struct(">II")

MAX_WORDS = 4 * 2**20
"""Bytes of JSON in a frame; the longest prompt fits a hundred times."""

MAX_DATA = 2**30
"""Bytes of pictures in a frame."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One message."""

    words: Mapping[str, Any]
    """JSON."""
    parts: tuple[bytes, ...] = field(default=(), repr=False)
    """Pictures that belong to it."""


class NoFrameError(Exception):
    """What came over the pipe is no frame: somebody else writes to it."""


def pack(frame: Frame) -> bytes:
    """The frame as it goes over a pipe."""
    words = json.dumps({"words": frame.words, "parts": [len(part) for part in frame.parts]}).encode("ascii")
    return b"".join((_HEAD.pack(len(words), sum(map(len, frame.parts))), words, *frame.parts))


class Unpacker:
    """Frames from bytes, however these are cut."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete with these bytes.

        Raises:
            NoFrameError: they cannot be read.
        """
        self._bytes += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if len(self._bytes) < _HEAD.size:
            return None
        words, data = _HEAD.unpack_from(self._bytes)
        if words > MAX_WORDS or data > MAX_DATA:
            raise NoFrameError(f"a frame of {words} and {data} bytes")
        start, end = _HEAD.size + words, _HEAD.size + words + data
        if len(self._bytes) < end:
            return None
        try:
            head = json.loads(self._bytes[_HEAD.size : start])
            parts = []
            for length in head["parts"]:
                parts.append(bytes(self._bytes[start : start + length]))
                start += length
            frame = Frame(words=head["words"], parts=tuple(parts))
        except (ValueError, KeyError, TypeError) as error:
            raise NoFrameError("a frame that is not JSON") from error
        del self._bytes[:end]
        return frame
