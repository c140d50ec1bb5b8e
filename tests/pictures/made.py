"""Pictures that tests make, and a look at what came of them."""

from __future__ import annotations

import random
import struct
import zlib
from io import BytesIO
from typing import Any

from PIL import Image as Pillow
from PIL import ImageOps


def encoded(picture: Pillow.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def scene(width: int = 96, height: int = 64, mode: str = "RGB") -> Pillow.Image:
    """Something with a different colour everywhere."""
    red, green = Pillow.linear_gradient("L").resize((width, height)), Pillow.radial_gradient("L").resize((width, height))
    return Pillow.merge("RGBA", (red, green, ImageOps.invert(red), green)).convert(mode)


def noise(width: int, height: int) -> Pillow.Image:
    return Pillow.frombytes("RGB", (width, height), random.Random(3).randbytes(width * height * 3))


def quarters(width: int = 40, height: int = 20) -> Pillow.Image:
    """Red, green, blue and white: upper left, upper right, lower left, lower right."""
    picture = Pillow.new("RGB", (width, height), "white")
    picture.paste("red", (0, 0, width // 2, height // 2))
    picture.paste("lime", (width // 2, 0, width, height // 2))
    picture.paste("blue", (0, height // 2, width // 2, height))
    return picture


def opened(data: bytes) -> Pillow.Image:
    picture = Pillow.open(BytesIO(data))
    picture.load()
    return picture


def pixel(picture: Pillow.Image, x: int, y: int) -> tuple[int, ...]:
    """Red, green, blue and opacity."""
    return tuple(picture.convert("RGBA").crop((x, y, x + 1, y + 1)).tobytes())


def same(one: Pillow.Image, other: Pillow.Image) -> bool:
    """Whether they are alike to the last pixel."""
    return one.size == other.size and one.convert("RGBA").tobytes() == other.convert("RGBA").tobytes()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(data: bytes, *chunks: bytes) -> bytes:
    """The PNG with these chunks behind its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def jpeg_with(data: bytes, marker: int, content: bytes) -> bytes:
    """The JPEG with this segment at its front."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + data[2:]


def turned_exif(orientation: int) -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    return exif


def gps_exif() -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[0x010F] = "Camera works"
    exif.get_ifd(0x8825)[1] = "N"
    return exif
