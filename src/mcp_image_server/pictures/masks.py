"""Masks: which part of a picture is painted anew.

Ours are PNGs as large as the picture, transparent where it is painted anew and opaque where it stays. Callers bring other kinds, and services want others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image as Pillow

from ..errors import RequestError
from ..models import MAX_PICTURE_BYTES, Adjustment, Edges, Picture, Size
from .conversion import opened, workable_size
from .inputs import Received, too_many_bytes
from .places import Box
from .provenance import carried_over

_SURE = [0 if level <= 16 else 255 if level >= 239 else level for level in range(256)]
"""Almost nothing is nothing: services look for exactly 0, and a JPEG's black has flecks. Levels between are soft edges, and stay."""


def read_mask(data: bytes, size: Size, *, max_bytes: int = MAX_PICTURE_BYTES) -> Received:
    """A mask of ours for a picture of that size, from what a caller gave: transparent, or white, where the picture is to be painted anew.

    Raises:
        NotAPictureError: see `read_input`.
        RequestError: it has another shape than the picture, leaves nothing to paint, or is a picture rather than a mask.
        LimitError: too many bytes.
    """
    if len(data) > max_bytes:
        raise too_many_bytes(len(data), max_bytes)
    given = opened(data).pixels
    words = []
    if given.mode == "RGBA" and given.getchannel("A").getextrema() != (255, 255):
        opacity = given.getchannel("A")
    else:
        opacity = _black(given)
        words.append("The mask has no transparency; its white is painted anew, its black stays.")
    opacity = opacity.point(_SURE)
    if opacity.size != (size.width, size.height):
        opacity = _resized(opacity, size)
        words.append(f"The mask of {given.width}x{given.height} was brought to the picture's size, {size}.")
    if opacity.getextrema() == (255, 255):
        raise RequestError("The mask leaves nothing to paint: make transparent, or white on black, what is to be painted anew.", code="invalid_image")
    picture = Picture(data=_ours(opacity), media_type="image/png", size=size)
    return Received(picture=picture, adjustments=tuple(Adjustment(field="mask", message=message) for message in words))


def mask_from_alpha(data: bytes) -> bytes:
    """A mask of ours that has a picture's transparent parts painted anew.

    Raises:
        NotAPictureError: see `examine`.
    """
    return _ours(opened(data).pixels.convert("RGBA").getchannel("A").point(_SURE))


def mask_from_white(data: bytes) -> bytes:
    """A mask of ours from one that is white where the picture is painted anew and black where it stays.

    Raises:
        NotAPictureError: see `examine`.
        RequestError: neither black nor white rules; it is a picture rather than a mask.
    """
    return _ours(_black(opened(data).pixels).point(_SURE))


def mask_from_boxes(size: Size, boxes: Sequence[Box]) -> bytes:
    """A mask of ours for a picture of that size that has these boxes painted anew.

    Raises:
        RequestError: no box, or one that lies outside of the picture; or a picture too large to be worked on.
    """
    if not boxes:
        raise RequestError("Name at least one box that is to be painted anew.")
    workable_size(size.width, size.height)
    opacity = Pillow.new("L", (size.width, size.height), 255)
    for box in boxes:
        opacity.paste(0, box.within(size))
    return _ours(opacity)


def white_is_edit(data: bytes, *, hard: bool = False) -> bytes:
    """A mask as most services want it: a grey PNG, white where the mask is transparent and the picture is to be painted anew, black where it is opaque.

    Args:
        hard: nothing in between: what is half transparent or more counts as transparent.

    Raises:
        NotAPictureError: see `examine`.
    """
    return _png(_opacity(data, hard).point(lambda level: 255 - level))


def black_is_edit(data: bytes, *, hard: bool = False) -> bytes:
    """A mask the other way round: a grey PNG, black where the mask is transparent and the picture is to be painted anew, white where it is opaque.

    Args:
        hard: as for `white_is_edit`.

    Raises:
        NotAPictureError: see `examine`.
    """
    return _png(_opacity(data, hard))


def _opacity(data: bytes, hard: bool) -> Pillow.Image:
    opacity = opened(data).pixels.convert("RGBA").getchannel("A")
    return opacity.point(lambda level: 255 if level >= 128 else 0) if hard else opacity


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """A picture with room around it, and the mask of that room: with both, a model that paints into pictures can paint on beyond their edges."""

    picture: bytes = field(repr=False)
    """PNG; the room is transparent."""
    mask: bytes = field(repr=False)
    size: Size


def canvas(data: bytes, edges: Edges) -> Canvas:
    """The picture on a larger, transparent canvas, and the mask that goes with it.

    Raises:
        NotAPictureError: see `examine`.
        RequestError: no edge is moved, or one inwards; or the canvas becomes too large to be worked on.
    """
    sides = (edges.left, edges.top, edges.right, edges.bottom)
    if min(sides) < 0 or max(sides) == 0:
        raise RequestError("Extend the picture by some pixels at one edge at least; to make it smaller, crop it.")
    picture = opened(data).pixels
    size = workable_size(picture.width + edges.left + edges.right, picture.height + edges.top + edges.bottom)
    ground = Pillow.new("RGBA", (size.width, size.height), (0, 0, 0, 0))
    ground.paste(picture, (edges.left, edges.top))
    opacity = Pillow.new("L", ground.size, 0)
    opacity.paste(255, (edges.left, edges.top, edges.left + picture.width, edges.top + picture.height))
    return Canvas(picture=carried_over(_png(ground), data), mask=_ours(opacity), size=size)


def _black(picture: Pillow.Image) -> Pillow.Image:
    """How black a black and white mask is."""
    levels = picture.convert("RGB").convert("L")
    histogram = levels.histogram()
    if sum(histogram[64:192]) * 2 > sum(histogram):
        raise RequestError(
            "This is a picture rather than a mask: most of it is neither black nor white. A mask is transparent, or white on black, where the "
            "picture is to be painted anew.",
            code="invalid_image",
        )
    return levels.point(lambda level: 255 - level)


def _resized(opacity: Pillow.Image, size: Size) -> Pillow.Image:
    given = Size(width=opacity.width, height=opacity.height)
    # Rounded to whole pixels, the same shape differs by half a pixel each way.
    if abs(given.width * size.height - size.width * given.height) > max(given.width + given.height, size.width + size.height) / 2 + 1:
        raise RequestError(f"The mask is {given}, but the picture is {size}: they must have the same shape.", code="invalid_image")
    return opacity.resize((size.width, size.height), Pillow.Resampling.BILINEAR)


def _ours(opacity: Pillow.Image) -> bytes:
    mask = Pillow.new("RGBA", opacity.size)
    mask.putalpha(opacity)
    return _png(mask)


def _png(picture: Pillow.Image) -> bytes:
    out = BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
