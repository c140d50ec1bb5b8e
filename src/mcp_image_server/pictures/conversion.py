"""Bytes to pixels that can be worked on, and back, in the formats we write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

from PIL import Image as Pillow

from ..errors import RequestError
from ..models import Size
from .colours import on_ground, screen_colours, standard_colours, upright
from .examining import MAX_PIXELS, MEMORY, Decoded, NotAPictureError, decode, examine
from .provenance import carried, carried_over, embed, packet

WORKABLE_PIXELS = 36_000_000
"""Most pixels of a picture that is changed: at four bytes each, the picture before and after a change and the written file fit into memory."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format we write."""

    media_type: str
    pillow: str
    hunger: int
    """Most bytes of memory for each pixel while it is encoded, with the pixels themselves."""
    transparent: bool = True
    options: Mapping[str, int] = field(default_factory=dict)
    """What we write with when nobody says otherwise. A quality is one at which the eye sees no loss."""


FORMATS = {
    "png": Format(media_type="image/png", pillow="PNG", hunger=8, options={"compress_level": 4}),  # 6, the default, takes twice the time for 4 % less
    "jpeg": Format(media_type="image/jpeg", pillow="JPEG", hunger=8, transparent=False, options={"quality": 95}),
    # Method 4, the default, takes ten times the memory with large pictures, for a few percent of the bytes.
    "webp": Format(media_type="image/webp", pillow="WEBP", hunger=16, options={"quality": 90, "method": 2}),
    "avif": Format(media_type="image/avif", pillow="AVIF", hunger=32, options={"quality": 80, "speed": 8}),
}
"""By the name a caller uses."""


def opened(data: bytes, *, max_pixels: int = WORKABLE_PIXELS, reducible: bool = False) -> Decoded:
    """The first frame, its pixels upright and in sRGB, to be worked on.

    Args:
        reducible: a picture of more than `WORKABLE_PIXELS` may come with half as many pixels each way, a JPEG with a quarter or an eighth, too.

    Raises:
        NotAPictureError: see `examine`; also a picture that cannot be worked on in the memory we grant.
    """
    decoded = decode(data, max_pixels=max_pixels, memory=MEMORY)
    if decoded.reduced and not reducible:
        raise NotAPictureError(f"the picture of {decoded.size} needs too much memory to be worked on; make it smaller")
    # One step after the other, and none keeps what it had before: a large picture fits into memory twice, not three times.
    if decoded.pixels.width * decoded.pixels.height > WORKABLE_PIXELS:
        decoded = replace(decoded, pixels=_halved(decoded.pixels), reduced=True)
    decoded = replace(decoded, pixels=standard_colours(decoded.pixels))
    decoded = replace(decoded, pixels=upright(decoded.pixels, decoded.orientation), orientation=1)
    decoded.pixels.info = {}  # what a file said about itself is not said again by another one
    return decoded


def _halved(picture: Pillow.Image) -> Pillow.Image:
    if picture.mode not in ("L", "RGB", "RGBA", "CMYK"):
        picture = standard_colours(picture)
    return picture.reduce(2)


def encoded(
    picture: Pillow.Image, name: str, *, quality: int | None = None, ground: str = "white", provenance: Mapping[str, str] | None = None
) -> bytes:
    """The picture in one of `FORMATS`.

    Args:
        quality: 1 to 100, for formats that lose something; None: one at which the eye sees no loss.
        ground: the colour behind what can be seen through, where the format has no transparency.
        provenance: is written into the file; see `embed`.

    Raises:
        RequestError: too many pixels for this format.
    """
    chosen = FORMATS[name]
    pixels = picture.width * picture.height
    if pixels * chosen.hunger > MEMORY:
        raise RequestError(
            f"A picture of {picture.width}x{picture.height} is too large to be written as {name}; "
            f"at most {MEMORY // chosen.hunger:,} pixels are. Make it smaller first, or choose jpeg."
        )
    if not chosen.transparent:
        picture = on_ground(picture, ground)
    options: dict[str, Any] = {**chosen.options, "quality": quality} if quality and "quality" in chosen.options else {**chosen.options}
    if provenance and name == "avif":  # which `embed` cannot take apart
        options["xmp"] = packet(provenance)
    out = BytesIO()
    try:
        picture.save(out, chosen.pillow, **options)
    except (ValueError, OSError) as exc:  # such as an edge longer than the format has numbers for
        raise RequestError(f"A picture of {picture.width}x{picture.height} cannot be written as {name}: {exc}. Choose png.") from exc
    return embed(out.getvalue(), provenance) if provenance else out.getvalue()


def workable_size(width: float, height: float, *, most: int = WORKABLE_PIXELS) -> Size:
    """The size of a picture that is to be made, in whole pixels.

    Raises:
        RequestError: too large to be worked on, or nothing at all.
    """
    if width < 1 or height < 1:
        raise RequestError("A picture has at least one pixel each way.")
    size = Size(width=round(width), height=round(height))
    if size.pixels > most:
        raise RequestError(f"A picture of {size} would be too large to be worked on; at most {most:,} pixels are.")
    return size


def scaled(picture: Pillow.Image, size: Size, box: tuple[int, int, int, int] | None = None) -> Pillow.Image:
    """The picture, or a box of it, at another size.

    Raises:
        RequestError: that would take too much memory.
    """
    if box is not None:
        picture = picture.crop(box)
    if picture.size == (size.width, size.height):
        return picture
    copies = 2 if picture.mode == "RGBA" else 1  # colours are weighed by their opacity, and that is done on copies
    between = size.width * picture.height  # the edges are scaled one after the other
    if 4 * (copies * (picture.width * picture.height + size.pixels) + between) > MEMORY:
        if picture.width < 2 * size.width or picture.height < 2 * size.height:
            raise RequestError(
                f"Bringing a picture of {picture.width}x{picture.height} to {size} takes too much memory; choose half its size, or less."
            )
        picture = picture.reduce(2)
    return picture.resize((size.width, size.height), Pillow.Resampling.LANCZOS, reducing_gap=3.0)


def to_png(data: bytes, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """The first frame as a PNG, for programs that know no other format. A large JPEG comes out smaller.

    Raises:
        NotAPictureError: see `examine`.
    """
    decoded = decode(data, max_pixels=max_pixels, edge=1024)
    out = BytesIO()
    upright(screen_colours(decoded.pixels), decoded.orientation).save(out, "PNG")
    return out.getvalue()


_ENDINGS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
}
_WRITERS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/gif": "GIF", "image/bmp": "BMP"}


def converted(data: bytes, ending: str, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """The picture in the format of a file name's ending, with its provenance; unchanged where it has that format already, or nobody knows the ending.

    What has no transparency (JPEG, BMP) gets a white ground. BMP has no room for a provenance.

    Raises:
        NotAPictureError: see `examine`.
    """
    wanted = _ENDINGS.get(ending.lower())
    if wanted is None or wanted == examine(data, max_pixels=max_pixels).media_type:
        return data
    decoded = decode(data, max_pixels=max_pixels)
    whole = upright(standard_colours(decoded.pixels), decoded.orientation)
    if wanted == "image/avif":
        return encoded(whole, "avif", provenance=carried(data))
    if wanted in ("image/jpeg", "image/bmp"):
        whole = on_ground(whole)
    out = BytesIO()
    whole.save(out, _WRITERS[wanted], quality=95)
    if wanted == "image/gif" and (told := carried(data)):
        return _with_packet(out.getvalue(), packet(told))
    return carried_over(out.getvalue(), data)


def _with_packet(gif: bytes, words: bytes) -> bytes:
    """The GIF with an XMP packet before its end, as part 3 of the specification of XMP has it: whole, with a tail that leads every reader out of it."""
    return b"GIF89a" + gif[6:-1] + b"\x21\xff\x0bXMP DataXMP" + words + b"\x01" + bytes(range(255, -1, -1)) + b"\0;"


def pixels(data: bytes, width: int, height: int, *, max_pixels: int = MAX_PIXELS) -> list[list[tuple[int, int, int]]]:
    """Rows of red, green and blue: the picture fitted into so many pixels, on black where it is transparent.

    Raises:
        NotAPictureError: see `examine`.
    """
    decoded = decode(data, max_pixels=max_pixels, edge=1024)
    picture = upright(screen_colours(decoded.pixels), decoded.orientation)
    scale = min(width / picture.width, height / picture.height)
    small = on_ground(picture.resize((max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))), "black")
    flat = small.tobytes()
    colours = [(flat[at], flat[at + 1], flat[at + 2]) for at in range(0, len(flat), 3)]
    return [colours[start : start + small.width] for start in range(0, len(colours), small.width)]
