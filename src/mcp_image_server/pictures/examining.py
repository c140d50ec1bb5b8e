"""What a picture is, and whether we take it: media type by content, size from the header, then the first frame decoded to its end."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO

from PIL import AvifImagePlugin, ImageFile, TiffImagePlugin, WebPImagePlugin  # noqa: F401 - named here, or Pillow loads all of its fifty formats to find them
from PIL import Image as Pillow

from ..errors import RequestError
from ..models import Size
from .containers import BrokenError, container_of

MAX_PIXELS = 8192 * 8192
"""Most pixels we decode. The hungriest format, WebP, takes sixteen bytes of memory for each while it is decoded: 1 GiB at the limit."""

MEMORY = 400 * 2**20
"""Bytes that pixels may take while a picture from outside is made ready or changed: with files and program around them, less than 512 MiB."""

_MAX_SCANS = 100
"""Passes over a progressive JPEG. Encoders make a dozen; each one costs as much as the whole picture, however few bytes it has."""


@dataclass(frozen=True, kw_only=True)
class _Format:
    media_type: str
    hunger: int
    """Most bytes of memory for each pixel while it is decoded, as measured with Pillow 13."""
    moves: bool = False


_FORMATS = {
    "PNG": _Format(media_type="image/png", hunger=4, moves=True),
    "JPEG": _Format(media_type="image/jpeg", hunger=4),
    "MPO": _Format(media_type="image/jpeg", hunger=4),  # a JPEG that is followed by a second one, such as a depth or brightness map
    "WEBP": _Format(media_type="image/webp", hunger=17, moves=True),
    "GIF": _Format(media_type="image/gif", hunger=4, moves=True),
    "BMP": _Format(media_type="image/bmp", hunger=4),
    "AVIF": _Format(media_type="image/avif", hunger=12, moves=True),
    "TIFF": _Format(media_type="image/tiff", hunger=8),
    "HEIF": _Format(media_type="image/heic", hunger=12),
}
"""What Pillow calls the formats we read. Its decoders for all others are not offered to bytes from outside."""


class NotAPictureError(RequestError):
    """The bytes are no picture we can read; the message says what they look like and what would work."""

    default_code = "invalid_image"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the bytes of a picture say about themselves."""

    media_type: str
    size: Size
    """As shown: turned the way the camera's note in the file asks for."""
    size_bytes: int
    sha256: str
    animated: bool
    """More than one frame; size and thumbnail are those of the first."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The first frame of a picture."""

    media_type: str
    size: Size
    """As shown, and before anything was reduced."""
    animated: bool
    orientation: int
    """How the pixels are to be turned to stand upright: the value of the EXIF note."""
    reduced: bool
    """A JPEG whose pixels are fewer than `size` says: an eighth, a quarter or half of each edge."""
    pixels: Pillow.Image
    """Not yet upright, in the file's own colours."""


def examine(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Facts:
    """Facts about the bytes, after the first frame was decoded to its end.

    Raises:
        NotAPictureError: no picture, a broken or truncated one, or one with too many pixels.
    """
    return facts(data, decode(data, max_pixels=max_pixels, edge=1))


def facts(data: bytes, decoded: Decoded) -> Facts:
    """What is known once the bytes are decoded."""
    return Facts(
        media_type=decoded.media_type,
        size=decoded.size,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        animated=decoded.animated,
    )


_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)
"""EXIF orientations in which width and height change places."""


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, edge: int | None = None, memory: int | None = None) -> Decoded:
    """The first frame, decoded to its end.

    Args:
        edge: pixels of the longer edge that are enough. A JPEG is decoded several times faster at an eighth, a quarter or half of its size, and
            still to its last byte.
        memory: bytes that decoding may take; a JPEG is reduced as far as it needs, anything else is refused.

    Raises:
        NotAPictureError: see `examine`.
    """
    picture = _open(data, max_pixels)
    width, height = picture.size
    if width * height > max_pixels:
        raise _too_large(max_pixels, f" of {width}x{height}")
    _refuse_traps(data, picture, max_pixels)
    _draft(picture, edge, memory)
    try:
        animated = _FORMATS[picture.format or ""].moves and bool(getattr(picture, "is_animated", False))
        expected = picture.size
        picture.load()
        if picture.mode in ("P", "PA") and picture.palette is None:
            raise ValueError("its palette is missing")
    except Exception as exc:  # given hostile bytes, decoders raise whatever their parsers trip over
        raise NotAPictureError(
            f"the picture is broken: it says it is {picture.format}, {width}x{height}, but cannot be decoded to its end ({exc})"
        ) from exc
    orientation = 1
    with suppress(Exception):  # a note that cannot be read is no reason to lose the picture
        orientation = picture.getexif().get(_ORIENTATION, 1)
    if orientation in _ON_ITS_SIDE or picture.size != expected:  # Pillow turns a TIFF upright by itself while it is decoded
        width, height = height, width
    return Decoded(
        media_type=_FORMATS[picture.format or ""].media_type,
        size=Size(width=width, height=height),
        animated=animated,
        orientation=orientation,
        reduced=picture.width * picture.height < width * height,
        pixels=picture,
    )


_HEIC = re.compile(rb"....ftyp(?:hei[cxms]|hev[cxms]|mi[af]1|msf1)(?!.{0,64}avif)", re.DOTALL)


def _open(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    formats = [name for name in _FORMATS if name not in ("MPO", "HEIF")]
    if _HEIC.match(data):
        if find_spec("pillow_heif") is None:
            raise NotAPictureError(
                "the data is a HEIC picture, which this server cannot read yet. Send it as JPEG or PNG; "
                "the operator can add HEIC with `pip install 'image-gen-mcp-server[heic]'`"
            )
        # Optional, and without types: asked for by name, and only once there is something for it to read.
        import_module("pillow_heif").register_heif_opener()
        formats = ["HEIF"]
    try:
        return Pillow.open(BytesIO(data), formats=formats)
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as exc:
        raise _too_large(max_pixels) from exc
    except Exception as exc:
        raise NotAPictureError(_described(data)) from exc


def _refuse_traps(data: bytes, picture: ImageFile.ImageFile, max_pixels: int) -> None:
    """Raises for headers that are fine and pixels that would cost far more than the size tells."""
    if picture.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > _MAX_SCANS:
        container, end = container_of(data), len(data)
        with suppress(BrokenError):
            end = container.end(data) if container is not None else end
        if data.count(b"\xff\xda", 0, end) > _MAX_SCANS:
            raise NotAPictureError(f"the picture is a JPEG of more than {_MAX_SCANS} passes, made to keep decoders busy; save it anew")
    tags = getattr(picture, "tag_v2", {})  # a TIFF's, whose tiles may be larger than the picture
    tile = [tags.get(name, 1) for name in (322, 323)]
    if not all(isinstance(edge, int) for edge in tile) or tile[0] * tile[1] > max_pixels:
        raise NotAPictureError("the picture is a TIFF with tiles too large to be decoded safely; save it anew")


def _draft(picture: ImageFile.ImageFile, edge: int | None, memory: int | None) -> None:
    """Has a JPEG decoded as small as is enough, or as the memory asks for; raises for any other picture that needs more."""
    name, pixels = picture.format or "", picture.width * picture.height
    hunger = _FORMATS[name].hunger
    held = 0
    if picture.info.get("progressive"):
        # Held until the last pass, whatever size it is decoded at: two bytes for each number of each colour.
        layers = [across * down for _, across, down, _ in getattr(picture, "layer", ())]
        held = 2 * pixels * sum(layers) // max(layers, default=1)
    if edge is not None:
        picture.draft(None, (edge, edge))
    elif memory is not None:
        scale = next((scale for scale in (1, 2, 4) if held + hunger * pixels // scale**2 <= memory), 8)
        picture.draft(None, (max(1, picture.width // scale), max(1, picture.height // scale)))
    if memory is not None and held + hunger * picture.width * picture.height > memory:
        most = memory // (hunger + held // pixels)
        raise NotAPictureError(
            f"the picture of {pixels:,} pixels is too large to be decoded safely: as {name}, at most {most:,} are taken; make it smaller"
        )


def _too_large(max_pixels: int, size: str = "") -> NotAPictureError:
    return NotAPictureError(f"the picture{size} is too large to be decoded safely; at most {max_pixels:,} pixels are taken")


_LOOKS = (
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--(?:(?!-->).)*-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg\b", re.DOTALL | re.IGNORECASE), "an SVG drawing"),
    (re.compile(rb"\s*<(!doctype html|html|head|body|script)\b", re.IGNORECASE), "a web page (HTML)"),
    (re.compile(rb"\s*<\?xml"), "XML"),
    (re.compile(rb'\s*(\{\s*["}]|\[\s*[\[{"\]])'), "JSON"),
    (re.compile(rb"%PDF"), "a PDF"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive"),
    (re.compile(rb"....ftyp(hei|mif|hev)", re.DOTALL), "a HEIC picture"),
    (re.compile(rb"....ftyp|\x1aE\xdf\xa3", re.DOTALL), "a video"),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|BM|II\*\x00|MM\x00\*", re.DOTALL), "a picture whose header is broken"),
)


def _described(data: bytes) -> str:
    """What the bytes are instead of a picture, in a sentence."""
    if not data:
        return "there is no picture: the data is empty"
    start = data[:1024].removeprefix(b"\xef\xbb\xbf")
    looks = next((words for pattern, words in _LOOKS if pattern.match(start)), None)
    if looks is None:
        looks = "text" if all(byte >= 32 or byte in b"\t\n\r\f" for byte in start) else "data of an unknown kind"
    return f"the data is no picture: it looks like {looks}. PNG, JPEG, WebP, GIF, BMP, AVIF and TIFF can be read"
