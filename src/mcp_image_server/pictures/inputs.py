"""Pictures on their way in: checked, told apart from what only looks like one, and made into what every service takes."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from io import BytesIO

from PIL import Image as Pillow

from ..errors import LimitError
from ..models import MAX_PICTURE_BYTES, Adjustment, Picture, Size
from .colours import is_standard
from .containers import BrokenError, container_of
from .conversion import WORKABLE_PIXELS, encoded, opened
from .examining import MAX_PIXELS, MEMORY, Decoded, NotAPictureError, decode
from .provenance import carried_over


@dataclass(frozen=True, kw_only=True)
class Received:
    """A picture ready to be sent to a service, and what was changed to make it so."""

    picture: Picture
    adjustments: tuple[Adjustment, ...] = ()


def read_input(data: bytes, *, max_bytes: int = MAX_PICTURE_BYTES, max_pixels: int = MAX_PIXELS) -> Received:
    """A PNG, JPEG or WebP as services take it: upright, eight bits, sRGB, one frame, and nothing in the file that tells a place.

    A file that is so already passes byte for byte; where only its notes tell a place, the compressed pixels stay as they are. Anything else is
    written anew, with its provenance: as JPEG where it is opaque and its format is one that loses something (JPEG, WebP, AVIF, HEIC), as PNG
    otherwise. A picture too large to be worked on (`WORKABLE_PIXELS`) is made smaller.

    Args:
        max_bytes: for the file as it comes and as it goes.
        max_pixels: what has more is refused, before it is decoded.

    Raises:
        NotAPictureError: no picture; a broken, cut or hostile one; or one that is another kind of file at the same time. Code `invalid_image`.
        LimitError: too many bytes. Code `payload_too_large`.
    """
    decoded, ready = _looked_at(data, max_bytes, max_pixels)
    if ready is not None:
        return ready
    words = _still(decoded)
    del decoded  # it is decoded again, whole, and a large one fits into memory only once
    return _written_anew(data, words, max_bytes, max_pixels)


@dataclass(frozen=True, kw_only=True)
class Raw(Received):
    """A picture to be changed here."""

    ready: bool
    """It is as `read_input` gives it. If not, it is the file as it came, and what it says about itself is not to be passed on."""


def read_source(data: bytes, *, max_bytes: int = MAX_PICTURE_BYTES, max_pixels: int = MAX_PIXELS) -> Raw:
    """A picture to be changed here, checked like `read_input`, but left in its own format, so that it is written only once: when it has been changed.

    Raises:
        NotAPictureError: see `read_input`.
        LimitError: the same.
    """
    decoded, ready = _looked_at(data, max_bytes, max_pixels)
    if ready is None and decoded.size.pixels > WORKABLE_PIXELS:
        ready = _written_anew(data, _still(decoded), max_bytes, max_pixels)
    found = ready or _received(data, decoded.media_type, decoded.size, *_still(decoded))
    return Raw(picture=found.picture, adjustments=found.adjustments, ready=ready is not None)


def _looked_at(data: bytes, max_bytes: int, max_pixels: int) -> tuple[Decoded, Received | None]:
    """What is in the file; and the picture, where it is ready to be sent."""
    if len(data) > max_bytes:
        raise too_many_bytes(len(data), max_bytes)
    decoded = decode(data, max_pixels=max_pixels, edge=1, memory=MEMORY)
    end = _end(data)
    _refuse_second_nature(data, len(data) if end is None else end)
    return decoded, _without_places(data, end, decoded) if end is not None and _is_ready(data, decoded) else None


def _still(decoded: Decoded) -> tuple[str, ...]:
    return ("The picture moves; its first frame is used.",) if decoded.animated else ()


def _end(data: bytes) -> int | None:
    """Where the picture in the file ends; None where we cannot tell."""
    container = container_of(data)
    try:
        return None if container is None else container.end(data)
    except BrokenError:
        return None


# ---------------------------------------------------------------------- two files in one

_BEHIND = re.compile(rb"<(?:!doctype|html|script|\?php)\b|%PDF-|Rar!\x1a\x07|7z\xbc\xaf\x27\x1c", re.IGNORECASE)
"""What programs look for anywhere in a file. Too long to come up by chance in the film that some cameras put behind a picture."""


def _refuse_second_nature(data: bytes, end: int) -> None:
    """Raises for a picture that another program would open as something else; its like are made to slip through checks."""
    if b"%PDF-" in data[:1024]:  # readers of PDF look for it that far
        raise _two_natures("a PDF")
    if b"PK\x05\x06" in data[-65_600:] and _is_zip(data):
        raise _two_natures("a ZIP archive")
    if found := _BEHIND.search(data, end):
        raise _two_natures(f"something that begins with {found[0].decode('latin-1')!r}")


def _is_zip(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            return bool(archive.infolist())
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, UnicodeDecodeError):
        return False


def _two_natures(other: str) -> NotAPictureError:
    return NotAPictureError(f"the file is a picture and {other} at the same time; save the picture anew in an image editor")


# ---------------------------------------------------------------------- passing as it is

_READY = {"image/png": ("L", "P", "RGB", "RGBA"), "image/jpeg": ("L", "RGB"), "image/webp": ("RGB", "RGBA")}
_PNG_DEPTH = 24
"""Where a PNG tells its bits for each colour; Pillow makes eight of sixteen without a word."""


def _is_ready(data: bytes, decoded: Decoded) -> bool:
    picture = decoded.pixels
    return (
        picture.mode in _READY.get(decoded.media_type, ())
        and not (decoded.media_type == "image/png" and data[_PNG_DEPTH] > 8)
        and not (picture.mode != "RGBA" and picture.has_transparency_data)
        and not decoded.animated
        and decoded.orientation == 1
        and is_standard(picture)
    )


_PLACES = re.compile(
    rb"gps|latitude|longitude|geotag|geo:|LocationCreated|LocationShown"
    rb"|[:/](?:City|Country|CountryName|CountryCode|State|ProvinceState|Location|Sublocation)\b"
    rb"|\x1c\x02[\x1a\x1b\x5a\x5c\x5f\x64\x65]",  # cities, states and countries in IPTC's own form
    re.IGNORECASE,
)
_GPS = 0x8825
_UNREADABLE = re.compile(rb"zTXt|iTXt[^\0]{1,79}\0\x01|[it]TXtRaw profile type", re.IGNORECASE)
"""Compressed words, or notes written as hexadecimal digits."""


def _without_places(data: bytes, end: int, decoded: Decoded) -> Received:
    """The very same file; without its notes where one tells, or may tell, a place; and without what follows the picture."""
    container = container_of(data)
    assert container is not None
    bare = carried_over(container.bare(data), data)
    ours = set(container.notes(bare))  # a prompt may speak of places
    words = []
    if _tells_a_place(decoded.pixels) or any(_PLACES.search(note) or _UNREADABLE.match(note) for note in container.notes(data) if note not in ours):
        words.append("Notes in the file that tell where a picture was taken were removed, and with them the file's other notes.")
    if end < len(data):
        words.append(f"{len(data) - end:,} bytes behind the end of the picture were removed, and the file's notes, which may refer to them.")
    return _received(bare if words else data, decoded.media_type, decoded.size, *words)


def _tells_a_place(picture: Pillow.Image) -> bool:
    try:
        return _GPS in picture.getexif()
    except Exception:  # what cannot be read by us may be read by others
        return True


def _received(data: bytes, media_type: str, size: Size, *words: str) -> Received:
    return Received(
        picture=Picture(data=data, media_type=media_type, size=size),
        adjustments=tuple(Adjustment(field="images", message=message) for message in words),
    )


# ---------------------------------------------------------------------- writing anew

_LOSSY = ("image/jpeg", "image/webp", "image/avif", "image/heic")


def _written_anew(data: bytes, words: tuple[str, ...], max_bytes: int, max_pixels: int) -> Received:
    source = opened(data, max_pixels=max_pixels, reducible=True)
    size, media_type, picture = source.size, source.media_type, source.pixels
    del source
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
        picture = picture.convert("RGB")
    reached = Size(width=picture.width, height=picture.height)
    if reached != size:
        words = (*words, f"The picture of {size} was made smaller, to {reached}.")
    kind = "jpeg" if media_type in _LOSSY and picture.mode == "RGB" else "png"
    written = encoded(picture, kind)
    if len(written) > max_bytes and picture.mode == "RGB":
        kind = "jpeg"
        written = encoded(picture, kind)
    if len(written) > max_bytes:
        raise too_many_bytes(len(written), max_bytes)
    return _received(carried_over(written, data), f"image/{kind}", reached, *words)


def too_many_bytes(count: int, most: int) -> LimitError:
    """The error for a file that is too long."""
    return LimitError(
        f"The picture has {count:,} bytes, at most {most:,} are taken. Make it smaller, or save it as JPEG.",
        code="payload_too_large",
        details={"size_bytes": count, "max_bytes": most},
    )
