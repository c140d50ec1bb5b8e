"""PNG, JPEG and WebP taken apart and put together again; what holds the pixels is passed on byte for byte."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

Pieces = Iterator[tuple[bytes, memoryview, memoryview]]
"""Kind, content, and the whole of each piece of a file."""

_NOT_TEXT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class BrokenError(Exception):
    """The bytes are not of this container, or not built as it should be."""


class Container(Protocol):
    """One file format and the places it has for words."""

    room: int
    """Most bytes an XMP packet may have."""

    def xmp(self, data: bytes) -> str:
        """The XMP packet in the file; empty when there is none."""
        ...

    def is_signed(self, data: bytes) -> bool:
        """Whether there is a C2PA manifest, whose signature any change would break (https://c2pa.org/specifications)."""
        ...

    def with_xmp(self, data: bytes, packet: bytes, texts: Mapping[str, str], obsolete: bool) -> bytes:
        """The file with this packet in place of the one it had.

        Args:
            texts: what a format with a place of its own for plain words says there, by keyword.
            obsolete: the file has such words from an earlier time, to be replaced.
        """
        ...

    def notes(self, data: bytes) -> Iterator[bytes]:
        """Everything in the file that is about the picture and not needed to show it."""
        ...

    def bare(self, data: bytes) -> bytes:
        """The file with what is needed to show the picture, and nothing else: no notes, and nothing behind its end."""
        ...

    def end(self, data: bytes) -> int:
        """Where the picture ends; further bytes are of another nature."""
        ...


def container_of(data: bytes) -> Container | None:
    """How the file is built; None for formats that are not taken apart."""
    return next((container for start, container in _CONTAINERS if start(data)), None)


def text(raw: str) -> str:
    """The words with what neither XML nor PNG can hold replaced by U+FFFD."""
    return _NOT_TEXT.sub("\ufffd", raw)


# https://www.w3.org/TR/png-3/ ; C2PA manifests are in a chunk `caBX`.

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"
_PNG_NOTES = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"caBX")


class _Png:
    room = 2**31

    def pieces(self, data: bytes) -> Pieces:
        """Type, content, and the whole of each chunk up to the last."""
        view = memoryview(data)
        at = len(_PNG)
        kind = b""
        while kind != b"IEND":
            if at + 12 > len(data):
                raise BrokenError
            length, kind = struct.unpack_from(">I4s", data, at)
            end = at + 12 + length
            if end > len(data):
                raise BrokenError
            yield kind, view[at + 8 : end - 4], view[at:end]
            at = end

    def xmp(self, data: bytes) -> str:
        packets = (content[len(_PNG_XMP) :] for kind, content, _ in self.pieces(data) if kind == b"iTXt" and content[: len(_PNG_XMP)] == _PNG_XMP)
        return str(next(packets, b""), "utf-8", "replace")

    def is_signed(self, data: bytes) -> bool:
        return any(kind == b"caBX" for kind, _, _ in self.pieces(data))

    def with_xmp(self, data: bytes, packet: bytes, texts: Mapping[str, str], obsolete: bool) -> bytes:
        chunks = list(self.pieces(data))
        ours = (_PNG_XMP, *(f"{keyword}\0".encode() for keyword in ("Description", "Software") if obsolete))
        kept = [whole for kind, content, whole in chunks if not (kind == b"iTXt" and bytes(content[:80]).startswith(ours))]
        words = [_png_chunk(b"iTXt", keyword.encode() + b"\0\0\0\0\0" + text(value).encode()) for keyword, value in texts.items()]
        return b"".join([_PNG, kept[0], *words, _png_chunk(b"iTXt", _PNG_XMP + packet), *kept[1:], memoryview(data)[self.end(data) :]])

    def notes(self, data: bytes) -> Iterator[bytes]:
        for kind, content, _ in self.pieces(data):
            if kind in _PNG_NOTES:
                yield kind + content

    def bare(self, data: bytes) -> bytes:
        return b"".join([_PNG, *(whole for kind, _, whole in self.pieces(data) if kind not in _PNG_NOTES)])

    def end(self, data: bytes) -> int:
        return len(_PNG) + sum(len(whole) for _, _, whole in self.pieces(data))


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


# ISO 10918-1 and, for the places of XMP and C2PA, part 3 of the XMP specification and APP11.

_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends the compressed pixels: a stuffed zero, restarts and fill belong to them."""


class _Jpeg:
    room = 65_533 - len(_JPEG_XMP)

    def pieces(self, data: bytes) -> Pieces:
        """Marker, content, and the whole of each segment before the pixels."""
        view = memoryview(data)
        start = 2
        while True:
            at = start
            while data[at : at + 2] == b"\xff\xff":  # fill
                at += 1
            if at + 4 > len(data) or data[at] != 0xFF:
                raise BrokenError
            marker = data[at + 1]
            if marker in (0xDA, 0xD9):  # the pixels, or the end without any
                return
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            if not at + 4 <= end <= len(data):
                raise BrokenError
            yield bytes([marker]), view[at + 4 : end], view[start:end]
            start = end

    def xmp(self, data: bytes) -> str:
        packets = (content[len(_JPEG_XMP) :] for kind, content, _ in self.pieces(data) if _is_jpeg_xmp(kind, content))
        return str(next(packets, b""), "utf-8", "replace")

    def is_signed(self, data: bytes) -> bool:
        return any(kind == b"\xeb" and b"c2pa" in bytes(content) for kind, content, _ in self.pieces(data))

    def with_xmp(self, data: bytes, packet: bytes, texts: Mapping[str, str], obsolete: bool) -> bytes:
        segments = list(self.pieces(data))
        segment = b"\xff\xe1" + struct.pack(">H", 2 + len(_JPEG_XMP) + len(packet)) + _JPEG_XMP + packet
        written: list[bytes | memoryview] = [b"\xff\xd8"]
        placed = False
        for kind, content, whole in segments:
            if _is_jpeg_xmp(kind, content):
                continue
            if not placed and not (kind == b"\xe0" or (kind == b"\xe1" and bytes(content[:4]) == b"Exif")):  # those two want to be first
                written.append(segment)
                placed = True
            written.append(whole)
        if not placed:
            written.append(segment)
        return b"".join([*written, memoryview(data)[self._pixels(data) :]])

    def notes(self, data: bytes) -> Iterator[bytes]:
        for kind, content, _ in self.pieces(data):
            if _is_jpeg_note(kind, content):
                yield bytes(content)

    def bare(self, data: bytes) -> bytes:
        kept = (whole for kind, content, whole in self.pieces(data) if not _is_jpeg_note(kind, content))
        return b"".join([b"\xff\xd8", *kept, memoryview(data)[self._pixels(data) : self.end(data)]])

    def end(self, data: bytes) -> int:
        at = self._pixels(data)
        while True:
            marker = _JPEG_MARKER.search(data, at)
            if marker is None:
                raise BrokenError
            if marker[0] == b"\xff\xd9":
                return marker.end()
            at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")  # a further scan, or tables for one

    def _pixels(self, data: bytes) -> int:
        return 2 + sum(len(whole) for _, _, whole in self.pieces(data))


def _is_jpeg_xmp(kind: bytes, content: memoryview) -> bool:
    return kind == b"\xe1" and content[: len(_JPEG_XMP)] == _JPEG_XMP


def _is_jpeg_note(kind: bytes, content: memoryview) -> bool:
    """Comments, and every application's segment except what says how the colours are meant."""
    if kind == b"\xfe":
        return True
    return b"\xe0" < kind <= b"\xef" and not bytes(content[:12]).startswith((b"ICC_PROFILE\0", b"Adobe"))


# https://developers.google.com/speed/webp/docs/riff_container

_HAS_XMP = 0x04
_HAS_EXIF = 0x08
_HAS_ALPHA = 0x10
_WEBP_SHOWN = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ICCP", b"ANIM", b"ANMF")


class _Webp:
    room = 2**31

    def pieces(self, data: bytes) -> Pieces:
        """Type, content, and the whole of each chunk with its padding."""
        view = memoryview(data)
        at, last = 12, 8 + int.from_bytes(data[4:8], "little")
        if last > len(data):
            raise BrokenError
        while at < last:
            if at + 8 > last:
                raise BrokenError
            kind, length = struct.unpack_from("<4sI", data, at)
            end = at + 8 + length + length % 2
            if end > last:
                raise BrokenError
            yield kind, view[at + 8 : at + 8 + length], view[at:end]
            at = end

    def xmp(self, data: bytes) -> str:
        return str(next((content for kind, content, _ in self.pieces(data) if kind == b"XMP "), b""), "utf-8", "replace")

    def is_signed(self, data: bytes) -> bool:
        return any(kind == b"C2PA" for kind, _, _ in self.pieces(data))

    def with_xmp(self, data: bytes, packet: bytes, texts: Mapping[str, str], obsolete: bool) -> bytes:
        header = self._header(data)
        header[0] |= _HAS_XMP
        kept = [whole for kind, _, whole in self.pieces(data) if kind not in (b"VP8X", b"XMP ")]
        return _webp_file(header, [*kept, _webp_chunk(b"XMP ", packet)]) + data[self.end(data) :]

    def notes(self, data: bytes) -> Iterator[bytes]:
        for kind, content, _ in self.pieces(data):
            if kind not in _WEBP_SHOWN:
                yield kind + content

    def bare(self, data: bytes) -> bytes:
        header = self._header(data)
        header[0] &= ~(_HAS_XMP | _HAS_EXIF)
        return _webp_file(header, [whole for kind, _, whole in self.pieces(data) if kind in _WEBP_SHOWN and kind != b"VP8X"])

    def end(self, data: bytes) -> int:
        return 12 + sum(len(whole) for _, _, whole in self.pieces(data))

    def _header(self, data: bytes) -> bytearray:
        kind, content, _ = next(self.pieces(data), (b"", memoryview(b""), None))
        header = bytearray(content) if kind == b"VP8X" else _webp_header(kind, content)
        if len(header) != 10:
            raise BrokenError
        return header


def _webp_file(header: bytearray, chunks: list[memoryview | bytes]) -> bytes:
    body = [b"WEBP", _webp_chunk(b"VP8X", bytes(header)), *chunks]
    return b"".join([b"RIFF", struct.pack("<I", sum(map(len, body))), *body])


def _webp_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _webp_header(kind: bytes, content: memoryview) -> bytearray:
    """The header that a file with metadata needs, for one that did without."""
    flags = 0
    if kind == b"VP8L" and len(content) >= 5 and content[0] == 0x2F:
        bits = int.from_bytes(content[1:5], "little")
        width, height = bits & 0x3FFF, (bits >> 14) & 0x3FFF  # both less one, as in the header
        flags = _HAS_ALPHA if bits >> 28 & 1 else 0
    elif kind == b"VP8 " and len(content) >= 10:
        width, height = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        width, height = width - 1, height - 1
    else:
        raise BrokenError
    if width < 0 or height < 0:
        raise BrokenError
    return bytearray(bytes([flags, 0, 0, 0]) + width.to_bytes(3, "little") + height.to_bytes(3, "little"))


_CONTAINERS: tuple[tuple[Callable[[bytes], bool], Container], ...] = (
    (lambda data: data.startswith(_PNG), _Png()),
    (lambda data: data.startswith(b"\xff\xd8"), _Jpeg()),
    (lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP", _Webp()),
)
