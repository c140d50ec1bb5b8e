"""Changes to a picture that need no service: a short vocabulary of steps, and one function that takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, isfinite, radians, sin, sqrt
from typing import Literal

from PIL import Image as Pillow

from ..errors import RequestError
from ..models import AspectRatio, Size
from .colours import checked_colour, on_ground
from .conversion import FORMATS, WORKABLE_PIXELS, encoded, opened, scaled, workable_size
from .examining import MAX_PIXELS
from .places import Box, Gravity, placed
from .provenance import carried
from .watermarks import Watermark, marked

Kind = Literal["png", "jpeg", "webp", "avif"]


@dataclass(frozen=True, kw_only=True)
class Crop:
    """What lies in a box; or the largest part of a shape, or a part of a size, that holds on to one side."""

    to: Box | AspectRatio | Size
    gravity: Gravity = "center"
    """What stays in view; a box says so itself."""


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Another size in pixels. With one edge named, the other follows from the picture's shape."""

    width: int | None = None
    height: int | None = None
    how: Literal["fit", "fill", "pad"] = "fit"
    """fit: as large as it can be within these edges. fill: exactly these edges, what does not fit is cut off. pad: exactly these edges, with room
    at the sides."""
    gravity: Gravity = "center"
    """fill: what stays in view. pad: where the picture is placed."""
    ground: str | None = None
    """pad: the colour, in CSS words, that the picture is laid on; None: the room at the sides is transparent."""


@dataclass(frozen=True, kw_only=True)
class Rotate:
    """Turned clockwise. Whole quarters move pixels and change none; at any other angle the picture grows so that its corners stay in view."""

    degrees: float
    ground: str | None = None
    """The colour, in CSS words, that the turned picture is laid on; None: its new corners are transparent."""


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Mirrored; horizontal: left and right change places."""

    direction: Literal["horizontal", "vertical"] = "horizontal"


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Written in this format."""

    format: Kind
    quality: int | None = None
    """1 to 100, where the format loses something; None: one at which the eye sees no loss."""
    ground: str = "white"
    """For JPEG: the colour, in CSS words, behind what can be seen through."""


@dataclass(frozen=True, kw_only=True)
class Compress:
    """Written in at most so many bytes: at the highest quality that fits, and where none does, smaller.

    A PNG cannot lose quality. Where no step before says that it shall stay one, it becomes a JPEG, or a WebP where it can be seen through.
    """

    max_bytes: int


Change = Crop | Resize | Rotate | Flip | Watermark
Step = Change | Convert | Compress


def apply(data: bytes, steps: Sequence[Step], *, anew: bool = False) -> bytes:
    """The picture after these steps, upright and in sRGB, in its own format unless a step says otherwise, with its provenance.

    A file that already is what the steps ask for stays as it is. Any other is written once, at the end: `Convert` and `Compress` tell how, wherever
    they stand, and of several the last one counts. Without a `Convert`, what is no PNG, JPEG, WebP or AVIF becomes a PNG, and so does a JPEG that a
    step makes transparent. Of a moving picture the first frame is used.

    Args:
        anew: a file that already is what the steps ask for is written anew all the same, so that nothing else of what it says is passed on.

    Raises:
        NotAPictureError: see `examine`; also a picture too large to be worked on.
        RequestError: a step that cannot be done; the message says why.
    """
    changes = [step for step in steps if not isinstance(step, Convert | Compress)]
    convert = next((step for step in reversed(steps) if isinstance(step, Convert)), None)
    compress = next((step for step in reversed(steps) if isinstance(step, Compress)), None)
    quality, ground = (convert.quality, checked_colour(convert.ground)) if convert is not None else (None, "white")
    if quality is not None and not 1 <= quality <= 100:
        raise RequestError(f"A quality lies between 1 and 100, not at {quality}.")
    if compress is not None and compress.max_bytes < 1:
        raise RequestError("A picture takes one byte at least.")
    # The one picture that may be too large to be worked on is the one that is to become smaller.
    source = opened(data, max_pixels=MAX_PIXELS, reducible=True) if changes and isinstance(changes[0], Resize) else opened(data)
    own, picture = source.media_type, source.pixels
    del source  # of a large picture, only what is worked on may stay in memory
    for step in changes:
        picture = _changed(picture, step)
    kind = convert.format if convert is not None else _KINDS.get(own, "png")
    if convert is None and kind == "jpeg" and picture.mode == "RGBA":
        kind = "png"
    if not anew and not changes and quality is None and FORMATS[kind].media_type == own and (compress is None or len(data) <= compress.max_bytes):
        return data
    told = carried(data)
    if compress is None:
        return encoded(picture, kind, quality=quality, ground=ground, provenance=told)
    if kind == "png" and convert is None:
        lossless = encoded(picture, kind, provenance=told)
        if len(lossless) <= compress.max_bytes:
            return lossless
        kind = "webp" if picture.mode == "RGBA" else "jpeg"
    return _compressed(picture, kind, ground, quality or _BEST, compress.max_bytes, told)


_KINDS: dict[str, Kind] = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp", "image/avif": "avif", "image/heic": "jpeg"}


def _changed(picture: Pillow.Image, step: Change) -> Pillow.Image:
    match step:
        case Crop():
            return _crop(picture, step)
        case Resize():
            return _resize(picture, step)
        case Rotate():
            return _rotate(picture, step)
        case Flip():
            return _flip(picture, step)
        case Watermark():
            return marked(picture, step)


# ---------------------------------------------------------------------- each step


def _crop(picture: Pillow.Image, step: Crop) -> Pillow.Image:
    whole = Size(width=picture.width, height=picture.height)
    if isinstance(step.to, Box):
        return picture.crop(step.to.within(whole))
    if isinstance(step.to, Size):
        part = step.to
        if part.width > whole.width or part.height > whole.height:
            raise RequestError(f"A picture of {whole} has no part of {part}; resize it with fill, which enlarges, too.")
    else:
        part = _largest(step.to.ratio, whole)
    left, top = placed((part.width, part.height), picture.size, step.gravity)
    return picture.crop((left, top, left + part.width, top + part.height))


def _largest(ratio: float, within: Size) -> Size:
    """The largest size of a shape that fits."""
    if ratio <= 0:
        raise RequestError("A ratio has two numbers above zero, such as 16:9.")
    width = min(within.width, round(within.height * ratio))
    height = min(within.height, round(within.width / ratio))
    return Size(width=max(1, width), height=max(1, height))


def _resize(picture: Pillow.Image, step: Resize) -> Pillow.Image:
    if step.width is None and step.height is None:
        raise RequestError("Name the width, the height, or both.")
    ratio = picture.width / picture.height
    width = step.width if step.width is not None else max(1, (step.height or 0) * ratio)
    height = step.height if step.height is not None else max(1, (step.width or 0) / ratio)
    wanted = workable_size(width, height)
    whole = Size(width=picture.width, height=picture.height)
    if step.how == "fill":
        part = _largest(wanted.ratio, whole)
        left, top = placed((part.width, part.height), picture.size, step.gravity)
        return scaled(picture, wanted, (left, top, left + part.width, top + part.height))
    inner = _largest(ratio, wanted)
    picture = scaled(picture, inner)
    if step.how == "fit" or inner == wanted:
        return picture
    if step.ground is None:
        padded = Pillow.new("RGBA", (wanted.width, wanted.height), (0, 0, 0, 0))
    else:
        padded = Pillow.new("RGB", (wanted.width, wanted.height), checked_colour(step.ground))
    seen_through = picture.mode == "RGBA" and step.ground is not None
    padded.paste(picture, placed(picture.size, padded.size, step.gravity), picture if seen_through else None)
    return padded


_QUARTERS = {90: Pillow.Transpose.ROTATE_270, 180: Pillow.Transpose.ROTATE_180, 270: Pillow.Transpose.ROTATE_90}
"""Pillow turns the other way."""


def _rotate(picture: Pillow.Image, step: Rotate) -> Pillow.Image:
    if not isfinite(step.degrees):
        raise RequestError("An angle is a number of degrees.")
    degrees = step.degrees % 360
    if degrees == 0:
        return picture
    if degrees in _QUARTERS:
        return picture.transpose(_QUARTERS[int(degrees)])
    across, down = abs(cos(radians(degrees))), abs(sin(radians(degrees)))
    turned_size = picture.width * across + picture.height * down, picture.width * down + picture.height * across
    workable_size(*turned_size, most=WORKABLE_PIXELS // 2)  # it takes more copies than other steps
    framed = Pillow.new("RGBA", (picture.width + 2, picture.height + 2), (0, 0, 0, 0))
    framed.paste(picture, (1, 1))  # edges become smooth where there is something transparent to fade to
    turned = framed.rotate(-degrees, Pillow.Resampling.BICUBIC, expand=True)
    return turned if step.ground is None else on_ground(turned, checked_colour(step.ground))


def _flip(picture: Pillow.Image, step: Flip) -> Pillow.Image:
    return picture.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT if step.direction == "horizontal" else Pillow.Transpose.FLIP_TOP_BOTTOM)


# ---------------------------------------------------------------------- writing within a budget

_BEST, _WORST = 95, 30
"""Qualities that are tried. Below, a smaller picture looks better than a worse one."""


def _compressed(picture: Pillow.Image, kind: Kind, ground: str, best: int, max_bytes: int, told: Mapping[str, str]) -> bytes:
    while True:
        lowest, highest = (min(_WORST, best), best) if "quality" in FORMATS[kind].options else (best, best)
        smallest, fitting = b"", b""
        while lowest <= highest:
            quality = (lowest + highest) // 2
            written = encoded(picture, kind, quality=quality, ground=ground, provenance=told)
            if len(written) <= max_bytes:
                fitting, lowest = written, quality + 1
            else:
                smallest, highest = written, quality - 1
        if fitting:
            return fitting
        if picture.size == (1, 1):
            raise RequestError(f"No picture fits into {max_bytes:,} bytes; one pixel of this one takes {len(smallest):,}.")
        scale = min(0.9, max(0.1, sqrt(max_bytes / len(smallest))))
        picture = scaled(picture, Size(width=max(1, int(picture.width * scale)), height=max(1, int(picture.height * scale))))
