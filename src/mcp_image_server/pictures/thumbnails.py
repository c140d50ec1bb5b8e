"""Small pictures for lists and conversations, and placeholders for while they load."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image as Pillow
from thash import rgba_to_thumb_hash

from ..models import Size
from .colours import screen_colours, upright
from .examining import MAX_PIXELS, Decoded, decode

EDGE = 512
"""Pixels of the longer edge."""

MAX_BYTES = 100_000

_HASHED_EDGE = 32
"""ThumbHash keeps seven waves each way; more pixels than this change its last digits only, and cost time."""

_MAX_PROFILE_BYTES = 8_000
"""Colour profiles of screens have a few hundred bytes; those of printers have hundreds of thousands."""


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small WebP of a picture, and its placeholder."""

    data: bytes = field(repr=False)
    size: Size
    thumbhash: str
    """Base64 (https://evanw.github.io/thumbhash/)."""


def thumbnail(data: bytes, *, edge: int = EDGE, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Thumbnail:
    """A WebP that fits into a square of `edge` pixels and into `max_bytes`; upright, transparency kept, first frame only.

    Raises:
        NotAPictureError: see `examine`.
    """
    return thumbnail_of(decode(data, max_pixels=max_pixels, edge=2 * edge), edge=edge, max_bytes=max_bytes)


def thumbnail_of(decoded: Decoded, *, edge: int = EDGE, max_bytes: int = MAX_BYTES) -> Thumbnail:
    """The thumbnail of what is decoded already."""
    small = upright(fitted(screen_colours(decoded.pixels), edge), decoded.orientation)
    profile = _profile(decoded.pixels)
    while True:
        for quality in (80, 60, 40):
            out = BytesIO()
            small.save(out, "WEBP", quality=quality, icc_profile=profile)
            if out.tell() <= max_bytes or small.size == (1, 1):
                return Thumbnail(data=out.getvalue(), size=Size(width=small.width, height=small.height), thumbhash=_thumbhash(small))
        small = fitted(small, max(1, max(small.size) * 3 // 4))


def fitted(picture: Pillow.Image, edge: int) -> Pillow.Image:
    """The picture, made smaller where an edge is longer than that."""
    scale = edge / max(picture.size)
    if scale >= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Pillow.Resampling.LANCZOS, reducing_gap=3.0)


def _profile(picture: Pillow.Image) -> bytes | None:
    """The colour profile, where it is still true of the thumbnail's colours."""
    profile = picture.info.get("icc_profile")
    fits = isinstance(profile, bytes) and len(profile) <= _MAX_PROFILE_BYTES and profile[16:20] == b"RGB "
    return profile if fits else None


def _thumbhash(picture: Pillow.Image) -> str:
    tiny = fitted(picture, _HASHED_EDGE).convert("RGBA")
    return b64encode(bytes(rgba_to_thumb_hash(tiny.width, tiny.height, list(tiny.tobytes())))).decode()
